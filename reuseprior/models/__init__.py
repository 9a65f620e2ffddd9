"""Networks to count, share and train: plain modules, and a catalogue of them by name."""

from reuseprior.errors import renamed
from reuseprior.models.catalog import CatalogEntry as CatalogEntry
from reuseprior.models.catalog import ModelConfig as ModelConfig
from reuseprior.models.catalog import build as build
from reuseprior.models.catalog import find as find
from reuseprior.models.catalog import image_size as image_size
from reuseprior.models.catalog import matching as matching
from reuseprior.models.catalog import names as names
from reuseprior.models.efficientnet_v2 import EfficientNetV2 as EfficientNetV2
from reuseprior.models.efficientnet_v2 import efficientnet_v2 as efficientnet_v2
from reuseprior.models.errors import ModelError as ModelError
from reuseprior.models.lazy import without_weights as without_weights
from reuseprior.models.plain import CNN as CNN
from reuseprior.models.plain import MLP as MLP
from reuseprior.models.resnets import CifarResNet as CifarResNet
from reuseprior.models.resnets import cifar_mobilenet as cifar_mobilenet
from reuseprior.models.resnets import cifar_resnet as cifar_resnet
from reuseprior.models.resnets import cifar_resnet18 as cifar_resnet18
from reuseprior.models.resnets import cifar_xception as cifar_xception
from reuseprior.models.resnets import densenet_bc as densenet_bc
from reuseprior.models.resnets import resnet50_v1 as resnet50_v1
from reuseprior.models.resnets import vs_xception as vs_xception
from reuseprior.models.resnets import wide_resnet as wide_resnet
from reuseprior.models.resnets import wide_resnet50_2 as wide_resnet50_2

__getattr__ = renamed(__name__, Recipe="ModelConfig")
