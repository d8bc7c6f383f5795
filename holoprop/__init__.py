"""holoprop: holomorphic equilibrium propagation.

Networks settle to a rest state; a small complex teaching signal travels once around a circle; the first Fourier
coefficient of the activity on that circle is the gradient (Laborieux & Zenke 2022, arXiv 2209.00530).
"""

from holoprop.bibliography import citation
from holoprop.data.augmentation import Augmentation
from holoprop.data.dataset import DataError, Dataset, Split
from holoprop.data.loading import load_dataset
from holoprop.data.preparation import Preparation
from holoprop.gradient.agreement import Agreement, Alignment, alignment
from holoprop.gradient.certificate import Certificate, Verdict
from holoprop.gradient.continual import AbstractContinualEstimator, Continual
from holoprop.gradient.estimate import AbstractEstimator, Estimate
from holoprop.gradient.finite_difference import Centered, OneSided
from holoprop.gradient.holomorphic import Holomorphic
from holoprop.gradient.implicit import ForwardResponse, Implicit
from holoprop.gradient.orbit import Orbit, circle_orbit
from holoprop.gradient.oscillation import OnlineOscillation, Oscillation
from holoprop.gradient.spectrum import Spectrum
from holoprop.gradient.stability import StabilityMap, stability_map
from holoprop.gradient.stencil import Stencil
from holoprop.gradient.unrolled import Backpropagation, Unrolled
from holoprop.network.activation import (
    AbstractActivation,
    DoubleSilu,
    HardSigmoid,
    ReLU,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)
from holoprop.network.base import AbstractEnergyNetwork, AbstractNetwork
from holoprop.network.build import feedforward, loop_mlp, mlp
from holoprop.network.build_conv import convnet, resnet
from holoprop.network.connection import AbstractConnection, Dense, Directed, Skip
from holoprop.network.conv import Conv
from holoprop.network.cost import AbstractCost, CrossEntropy, SquaredError
from holoprop.network.feedback import with_feedback
from holoprop.network.layered import LayeredNetwork
from holoprop.network.pooling import AbstractPooling, AveragePooling, MaxPooling, SoftmaxPooling
from holoprop.network.product import real_product
from holoprop.network.readout import Readout
from holoprop.settling.anderson import Anderson
from holoprop.settling.fixed_point import FixedPoint
from holoprop.settling.mixed import Mixed
from holoprop.settling.plain import Alternating, Picard
from holoprop.settling.rest import Rest, Status, UnsettledError
from holoprop.settling.run import settle
from holoprop.settling.solver import AbstractSolver, Progress
from holoprop.settling.substrate import Programmed, Substrate
from holoprop.settling.time_stepping import Noise, TimeSteps
from holoprop.symmetry.angle import FeedbackAngle, feedback_angle
from holoprop.symmetry.homeostatic import Homeostatic
from holoprop.symmetry.jacobian import (
    JacobianAnalysis,
    SymmetryMeasure,
    analyse_jacobian,
    error_alignment,
    functional_jacobian,
    symmetry_measure,
)
from holoprop.symmetry.kolen_pollack import KolenPollack
from holoprop.symmetry.penalty import Homeostasis, homeostasis
from holoprop.train.bookkeeping import TrainingError
from holoprop.train.checkpoint import CheckpointError
from holoprop.train.devices import start_processes
from holoprop.train.evaluation import Evaluation, evaluate
from holoprop.train.interrupt import StoppedError
from holoprop.train.loop import FitResult, ProgressDisplay, fit
from holoprop.train.profiling import Profiler
from holoprop.train.seeds import fit_seeds
from holoprop.train.step import StepMetrics, TrainState, initial_train_state, train_step

__version__ = "0.1.0"

__all__ = [
    # networks
    "AbstractActivation",
    "AbstractConnection",
    "AbstractCost",
    "AbstractEnergyNetwork",
    "AbstractNetwork",
    "AbstractPooling",
    "AveragePooling",
    "Conv",
    "CrossEntropy",
    "Dense",
    "Directed",
    "DoubleSilu",
    "HardSigmoid",
    "LayeredNetwork",
    "MaxPooling",
    "ReLU",
    "Readout",
    "Sigmoid",
    "Silu",
    "Skip",
    "SoftmaxPooling",
    "Softplus",
    "SquaredError",
    "Tanh",
    "convnet",
    "feedforward",
    "loop_mlp",
    "mlp",
    "real_product",
    "resnet",
    # settling
    "AbstractSolver",
    "Alternating",
    "Anderson",
    "FixedPoint",
    "Mixed",
    "Noise",
    "Picard",
    "Programmed",
    "Progress",
    "Rest",
    "Status",
    "Substrate",
    "TimeSteps",
    "UnsettledError",
    "settle",
    # gradient
    "AbstractContinualEstimator",
    "AbstractEstimator",
    "Agreement",
    "Alignment",
    "Backpropagation",
    "Centered",
    "Certificate",
    "Continual",
    "Estimate",
    "ForwardResponse",
    "Holomorphic",
    "Implicit",
    "OneSided",
    "OnlineOscillation",
    "Orbit",
    "Oscillation",
    "Spectrum",
    "StabilityMap",
    "Stencil",
    "Unrolled",
    "Verdict",
    "alignment",
    "circle_orbit",
    "stability_map",
    # symmetry
    "FeedbackAngle",
    "Homeostasis",
    "Homeostatic",
    "JacobianAnalysis",
    "KolenPollack",
    "SymmetryMeasure",
    "analyse_jacobian",
    "error_alignment",
    "feedback_angle",
    "with_feedback",
    "functional_jacobian",
    "homeostasis",
    "symmetry_measure",
    # what to cite
    "citation",
    # data
    "Augmentation",
    "Preparation",
    "DataError",
    "Dataset",
    "Split",
    "load_dataset",
    # train
    "CheckpointError",
    "Evaluation",
    "FitResult",
    "Profiler",
    "ProgressDisplay",
    "StepMetrics",
    "TrainState",
    "TrainingError",
    "evaluate",
    "fit",
    "fit_seeds",
    "start_processes",
    "StoppedError",
    "initial_train_state",
    "train_step",
]
