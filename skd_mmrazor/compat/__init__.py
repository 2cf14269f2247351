"""What mmrazor 1.0.0 needs on today's torch and OpenMMLab packages.

One module a need. Each names the issue it answers, does nothing where the
stack does not need it, and can be applied twice.
"""

from .versions import check_versions

__all__ = ['apply', 'check_versions']


def apply() -> None:
    """Makes the installed packages work together, or says why they cannot.

    Raises:
        ImportError: A package is missing or its version cannot work.
    """
    check_versions()

    # These import the packages that have just been checked.
    from .annotations import check_annotations
    from .checkpoint_files import check_checkpoint_files
    from .checkpoint_fit import check_checkpoint_fit
    from .checkpoint_writes import save_checkpoints_whole
    from .checkpoints import allow_mmengine_checkpoints
    from .cpu_processes import allow_cpu_processes
    from .data_free import train_data_free_distillers
    from .deit import adapt_deit
    from .distill_val_loop import balance_distill_val_loop
    from .message_hub import make_hub_of_training_current
    from .mmcls import alias_mmcls, alias_registered_names
    from .package_metadata import replace_pkg_resources
    from .quantization import import_mmrazor_without_quantization
    from .resume import resume_safely
    from .teacher_checkpoint import check_teacher_checkpoints

    replace_pkg_resources()
    allow_mmengine_checkpoints()
    check_checkpoint_files()
    check_checkpoint_fit()
    resume_safely()
    save_checkpoints_whole()
    make_hub_of_training_current()
    allow_cpu_processes()
    alias_mmcls()
    import_mmrazor_without_quantization()
    balance_distill_val_loop()
    check_teacher_checkpoints()
    alias_registered_names()
    adapt_deit()
    train_data_free_distillers()
    check_annotations()
