"""What is known of the authors' own code, to tell whether the baseline stands for it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Quoted:
    """What the authors' own code was measured to take: seconds a step on a machine of `gemm_gflops` GFLOP/s."""

    step_s: float
    gemm_gflops: float

    def expected(self, gemm_gflops: float) -> float:
        """Return the seconds to expect on a machine of this rate."""
        return self.step_s * self.gemm_gflops / gemm_gflops


def baseline_note(quoted: Quoted | None, baseline_step_s: float, gemm_gflops: float) -> str | None:
    """Return a note if the baseline's step is not within 30 % of the quoted one, scaled by the machine's rate."""
    if quoted is None:
        return None
    expected = quoted.expected(gemm_gflops)
    if abs(baseline_step_s / expected - 1) <= 0.3:
        return None
    return (
        f"baseline off: {1e3 * baseline_step_s:.0f} ms a step, expected {1e3 * expected:.0f} ms from the authors' "
        f"{1e3 * quoted.step_s:.0f} ms at {quoted.gemm_gflops:.0f} GFLOP/s, scaled to {gemm_gflops:.0f} GFLOP/s"
    )
