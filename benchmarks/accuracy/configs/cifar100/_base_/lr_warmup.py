# A control: a student that learns slowly at first, by its learning rate and not by its target.
epochs_of_warmup = max(1, {{'$CIFAR100_EPOCHS:240'}} // 12)
lr_warmup = dict(
    type='LinearLR', start_factor=0.01, end=epochs_of_warmup, convert_to_iter_based=True
)
