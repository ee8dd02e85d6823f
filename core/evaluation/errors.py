"""How far an estimated pose is from the true one."""

from __future__ import annotations

import numpy as np

from core.geometry import Rigid3d, rotation_angle_deg
from core.records import PoseError


def pose_error(estimate: Rigid3d, truth: Rigid3d) -> PoseError:
    """Compare two ``cam_from_world`` poses: distance of the camera centres in m, angle between them in deg (PAPER 4.1)."""
    distance = float(np.linalg.norm(estimate.center() - truth.center()))
    return PoseError(position_m=distance, rotation_deg=rotation_angle_deg(estimate, truth))
