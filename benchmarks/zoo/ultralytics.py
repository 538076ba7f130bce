"""Networks of ultralytics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.zoo.parts import Entry, made

_YOLO = {
    "DetectionModel": "yolov3-tiny yolov5n yolov6n yolov8n yolov8n-ghost yolov8n-p2 yolov9t yolov10n yolo11n "
    "yolo12n yolo26n",
    "SegmentationModel": "yolov8n-seg yolo11n-seg yolo26n-seg",
    "PoseModel": "yolov8n-pose yolo11n-pose",
    "OBBModel": "yolo11n-obb",
    "ClassificationModel": "yolov8n-cls yolo11n-cls yolo26n-cls",
    "RTDETRDetectionModel": "rtdetr-resnet50",
}


def entries() -> Iterator[Entry]:
    for kind, names in _YOLO.items():
        for name in names.split():
            options = {"cfg": f"{name}.yaml", "verbose": False}
            yield Entry("ultralytics", name, partial(made, "ultralytics.nn.tasks", kind, options), (3, 64, 64))
