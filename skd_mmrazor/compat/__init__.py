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
    from .checkpoints import allow_mmengine_checkpoints
    from .cpu_processes import allow_cpu_processes
    from .mmcls import alias_mmcls
    from .package_metadata import replace_pkg_resources
    from .quantization import import_mmrazor_without_quantization
    from .resume import resume_safely
    from .teacher_checkpoint import check_teacher_checkpoints

    replace_pkg_resources()
    allow_mmengine_checkpoints()
    check_checkpoint_files()
    check_checkpoint_fit()
    resume_safely()
    allow_cpu_processes()
    alias_mmcls()
    import_mmrazor_without_quantization()
    check_teacher_checkpoints()
    check_annotations()
