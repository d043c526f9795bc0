"""Many devices: a mesh, and rules from the paths of parameters to where they lie on it."""

from jaxdl.sharding.layout import Layout as Layout
from jaxdl.sharding.layout import layout as layout
from jaxdl.sharding.mesh import mesh as mesh
