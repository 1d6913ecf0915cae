"""The order of lanes: every array is laid out as its definition says, and every way back is the inverse."""

import numpy as np
import pytest

from stages.lib.lanes.plan import Grid

GRID, OF_MEMBERS = Grid(num_points=2, num_replicates=3), Grid(2, 3, num_members=2)


def test_lanes_are_starts_point_by_point() -> None:
    assert GRID.over_points(np.array([7, 8, 9])).tolist() == [7, 8, 9, 7, 8, 9]
    assert GRID.over_starts([0.1, 0.2]).tolist() == [0.1] * 3 + [0.2] * 3
    assert GRID.by_point(np.arange(6)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert OF_MEMBERS.over_points(np.arange(6)).tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert OF_MEMBERS.over_starts([0.1, 0.2]).tolist() == [0.1] * 6 + [0.2] * 6


def test_the_lanes_of_a_choice_of_points() -> None:
    assert GRID.lanes_at(1).tolist() == [3, 4, 5]
    assert GRID.lanes_at(np.array([1, 0, 1])).tolist() == [3, 1, 5]
    assert OF_MEMBERS.lanes_at(np.array([1, 0, 1])).tolist() == [6, 1, 8, 9, 4, 11]


def test_members_are_averaged_within_a_replicate_and_a_point() -> None:
    values = np.array([[1, 2, 3, 5, 6, 7, 10, 20, 30, 30, 40, 50]]).T
    assert OF_MEMBERS.average_members(values).tolist() == [[3], [4], [5], [20], [30], [40]]
    assert OF_MEMBERS.average_members(values, 1).ravel().tolist() == [1, 2, 3, 10, 20, 30]


def test_trailing_axes_stay() -> None:
    values = np.arange(12).reshape(3, 4)
    assert GRID.over_points(values).shape == (6, 4)
    np.testing.assert_array_equal(GRID.by_point(GRID.over_points(values))[1], values)


def test_lanes_that_are_no_whole_number_of_points_are_refused() -> None:
    assert Grid.of_lanes(6, 3) == GRID
    assert Grid.of_lanes(12, 3, 2) == OF_MEMBERS
    with pytest.raises(ValueError, match="7 lanes are no multiple of 3 replicates"):
        Grid.of_lanes(7, 3)
    with pytest.raises(ValueError, match="9 lanes are no multiple of 3 replicates of 2 members"):
        Grid.of_lanes(9, 3, 2)
