"""What this machine is, what of it this process may use, whether others use it meanwhile, and what counts its energy.

>>> from inferkit import devices
>>> machine = devices.describe()
>>> 0 < machine.cores_granted <= machine.cores_logical
True
>>> devices.stamp()["machine_id"] == machine.machine_id
True

Nothing here loads a framework, needs an extra or raises where a fact can't be had: what is unknown is None or empty.
"""

from ._busy import OtherLoad, busy_watch
from ._energy import EnergyCounter, energy_counter
from ._gpus import Gpu
from ._machine import Machine, describe, stamp

__all__ = ["EnergyCounter", "Gpu", "Machine", "OtherLoad", "busy_watch", "describe", "energy_counter", "stamp"]
