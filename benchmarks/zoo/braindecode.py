"""Networks of braindecode."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.zoo.parts import Entry, made

_EEG = """
ATCNet AttentionBaseNet BDTCN BIOT CTNet ContraWR Deep4Net EEGConformer EEGITNet EEGInceptionERP EEGInceptionMI EEGNeX
EEGNet EEGSimpleConv EEGTCNet FBCNet FBLightConvNet FBMSNet IFNet MSVTNet MEDFormer SCCNet SPARCNet SSTDPN
ShallowFBCSPNet SincShallowNet SleepStagerBlanco2020 SleepStagerChambon2018 SyncNet TIDNet TSception
USleep AttnSleep DeepSleepNet EEGMiner TCFormer
"""


def entries() -> Iterator[Entry]:
    for name in _EEG.split():
        times, rate, channels = 512, 128, 4
        if name in ("AttnSleep", "DeepSleepNet", "USleep", "SleepStagerChambon2018", "SleepStagerBlanco2020"):
            times, rate, channels = 3000, 100, 1 if name in ("AttnSleep", "DeepSleepNet") else 2
        options = {"n_chans": channels, "n_outputs": 3, "n_times": times, "sfreq": rate}
        yield Entry("braindecode", name, partial(made, "braindecode.models", name, options), (channels, times))
