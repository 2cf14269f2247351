# Glyph100 in the place of CIFAR-100: drawn when it is first used, no download.
_base_ = ['./cifar100_bs64.py']

dataset_type = 'skd_mmrazor.Glyph100'
data_preprocessor = dict(mean=[127.6, 127.6, 127.5], std=[49.7, 49.7, 49.8])

train_dataloader = dict(dataset=dict(type=dataset_type, data_root='data/glyph100'))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root='data/glyph100'))
test_dataloader = val_dataloader
