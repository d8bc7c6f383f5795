"""Problems and residuals as one program each: operation by operation they take a hundred times as long to compile."""

import equinox as eqx

import holoprop as hp

problem_of, residual = eqx.filter_jit(hp.FixedPoint.of), eqx.filter_jit(hp.FixedPoint.residual)
