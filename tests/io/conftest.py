import pycolmap
import pytest

from tests.synthetic import CAMERA, arc_poses, box_points, colmap_model


@pytest.fixture
def small_model() -> pycolmap.Reconstruction:
    """Four images of 30 points, two cameras, some keypoints without a point, ids with holes."""
    poses = {f"a name/{i}.x y.jpg": pose for i, pose in enumerate(arc_poses(4, step_deg=25))}
    model = colmap_model(CAMERA, poses, box_points(30) * 1.4)
    for point_id in sorted(model.points3D)[3:12:4]:
        model.delete_point3D(point_id)
    model.update_point_3d_errors()
    return model
