"""Where batches are made ready: on the CPU when they are asked for, on a GPU ahead of that and beside what computes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from torch import Tensor

from genovox.dataset.cases import PreparedCase, load_batch

Prepare = Callable[[Tensor, Sequence[PreparedCase]], Tensor]
"""What is done to the volumes (B, C, D, H, W) of cases on the device, such as augmentation."""
KEPT_SHARE = 0.5
"""Of the memory that a GPU has free beside a network in training, for volumes that the next epoch needs again."""
READERS = 4


def as_they_are(volumes: Tensor, _: Sequence[PreparedCase]) -> Tensor:
    """Prepare nothing."""
    return volumes


class Shelf:
    """Volumes on the device that computes.

    What is done to volumes on a GPU runs in a stream beside the network's, so that it need not wait for it.

    Args:
        device: Where batches are wanted.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._kept: dict[str, Tensor] = {}
        self._room: float | None = None
        if self._device.type == "cuda":
            if self._device.index is None:
                self._device = torch.device("cuda", torch.cuda.current_device())
            # What an earlier shelf has let go counts as taken until it is given back.
            torch.cuda.empty_cache()
            self._stream = _open_stream(self._device)
            self._readers = ThreadPoolExecutor(READERS)

    def keep_what_fits(self) -> None:
        """Let a GPU keep volumes from now on, as far as they fit: no later epoch waits for the disk.

        To be called once a network has taken a step, and with it what memory it needs; again does nothing.
        """
        if self._device.type == "cuda" and self._room is None:
            self._room = torch.cuda.mem_get_info(self._device)[0] * KEPT_SHARE

    def start(self, cases: Sequence[PreparedCase], prepare: Prepare = as_they_are) -> Callable[[], Tensor]:
        """Begin to make a batch: reading takes time, so a thread beside the one that wants it should call this.

        Args:
            cases: Of the batch.
            prepare: Done to its volumes; a GPU does it at once, the CPU once the batch is wanted.

        Returns:
            What gives the batch (B, C, D, H, W), float32, to the thread that wants it.

        Raises:
            DataError: If a volume is missing or damaged.
        """
        if self._device.type == "cpu":
            volumes = load_batch(cases)
            return lambda: prepare(volumes, cases)
        # A new thread is on the first GPU, and would take memory there for nothing.
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            batch = prepare(torch.stack(self._place(cases)), cases)
            made = self._stream.record_event()

        def hand_over() -> Tensor:
            asking = torch.cuda.current_stream(self._device)
            asking.wait_event(made)
            batch.record_stream(asking)
            return batch

        return hand_over

    def _place(self, cases: Sequence[PreparedCase]) -> list[Tensor]:
        new = [case for case in cases if case.case_id not in self._kept]
        # Pinned, since a GPU then fetches them while it computes.
        read = self._readers.map(lambda case: load_batch([case])[0].pin_memory(), new)
        placed = {
            case.case_id: volume.to(self._device, non_blocking=True) for case, volume in zip(new, read, strict=True)
        }
        for name, volume in placed.items():
            if self._room is not None and self._room >= volume.nbytes:
                self._room -= volume.nbytes
                self._kept[name] = volume
        return [self._kept[case.case_id] if case.case_id in self._kept else placed[case.case_id] for case in cases]


@lru_cache
def _open_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all trainings of a process: memory that a stream has freed is that stream's alone."""
    return torch.cuda.Stream(device)


ON_CPU = Shelf()
