"""What the Slurm commands would have printed when they refuse.

Knows: exit status and stderr text. Must not know: HTTP.
"""

from __future__ import annotations


class SlurmCommandError(Exception):
    """A Slurm command ended unsuccessfully.

    Args:
        stderr: the text the command printed.
        exit_status: its exit status (Slurm uses 1 for nearly everything, 255 for an unreadable option).
    """

    command = "slurm"

    def __init__(self, stderr: str, exit_status: int = 1) -> None:
        super().__init__(f"{self.command} exit_status:{exit_status} std_err:{stderr}")
        self.stderr = stderr
        self.exit_status = exit_status


class SbatchError(SlurmCommandError):
    """``sbatch`` refused the job."""

    command = "sbatch"


class ScancelError(SlurmCommandError):
    """``scancel`` refused to cancel the job."""

    command = "scancel"


class ScontrolError(SlurmCommandError):
    """``scontrol`` refused (hold, release, requeue, suspend, show)."""

    command = "scontrol"


class SrunError(SlurmCommandError):
    """``srun`` could not attach, or its command failed."""

    command = "srun"
