"""The blocks of §3.3.5: importing this package registers them; a factory makes each blueprint."""

from reuseprior.revolver.blocks.convolution import conv as conv
from reuseprior.revolver.blocks.convolution import conv3d as conv3d
from reuseprior.revolver.blocks.convolution import conv_deconv as conv_deconv
from reuseprior.revolver.blocks.convolution import deconv as deconv
from reuseprior.revolver.blocks.convolution import separable as separable
from reuseprior.revolver.blocks.ensembles import ensemble_concat as ensemble_concat
from reuseprior.revolver.blocks.ensembles import ensemble_mean as ensemble_mean
from reuseprior.revolver.blocks.ensembles import fractal as fractal
from reuseprior.revolver.blocks.groups import dense_concat as dense_concat
from reuseprior.revolver.blocks.groups import dense_sum as dense_sum
from reuseprior.revolver.blocks.groups import residual_group as residual_group
from reuseprior.revolver.blocks.layers import activation as activation
from reuseprior.revolver.blocks.layers import batch_norm as batch_norm
from reuseprior.revolver.blocks.layers import dropout as dropout
from reuseprior.revolver.blocks.layers import global_pool as global_pool
from reuseprior.revolver.blocks.layers import linear as linear
from reuseprior.revolver.blocks.layers import pool as pool
from reuseprior.revolver.blocks.schemes import densenet as densenet
from reuseprior.revolver.blocks.schemes import resnet as resnet
from reuseprior.revolver.blocks.sessions import session as session
from reuseprior.revolver.blocks.units import bottleneck as bottleneck
from reuseprior.revolver.blocks.units import residual as residual
from reuseprior.revolver.blocks.units import unit as unit
