_base_ = ['./kd.py']

# A control: a target that is softer throughout, on the side of the labels.
model = dict(
    architecture=dict(
        head=dict(loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1))
    )
)
