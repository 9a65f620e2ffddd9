"""Training: a protocol as data, and one trainer for all devices."""

from reuseprior.results import finished as finished
from reuseprior.training.checkpoint import CheckpointError as CheckpointError
from reuseprior.training.protocol import Protocol as Protocol
from reuseprior.training.protocol import ProtocolError as ProtocolError
from reuseprior.training.protocol import names as names
from reuseprior.training.task import Classification as Classification
from reuseprior.training.task import Penalised as Penalised
from reuseprior.training.task import Task as Task
from reuseprior.training.trainer import Diverged as Diverged
from reuseprior.training.trainer import Interrupted as Interrupted
from reuseprior.training.trainer import train as train
