"""Situations as people describe them in public reports: what they have, what is right, and the tests that show it.

Each row names a test in Python and one on the command line, which compare with a value that is calculated without
deconvviz. `python -m tests.helpers.situations` writes docs/howto/situations.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "howto" / "situations.md"
START = """# Situations

<!-- Written by `python -m tests.helpers.situations`; edit the table there. -->

What people have, as public bug reports and questions tell it, and what deconvviz does with it. The tests compare with
values that are calculated without deconvviz.

| situation | what is right | in Python | on the command line |
|---|---|---|---|
"""


class Situation(NamedTuple):
    """A row: the tests are ``file::function`` under tests/, or "" where there is nothing to do in that way.

    nearest: what the test on the command line shows, where a command cannot do the same.
    """

    name: str
    right: str
    python: str
    command_line: str
    nearest: str = ""


_CHECKPOINTS = "models/test_checkpoints_from_trainers.py::"
_INPUTS = "cli/test_input_options.py::"
_SHOWN = "images/test_transforms_undone.py::"
_EXPORTED = "net/test_exported_models.py::"
_GIVEN = "data/test_given_datasets.py::"
_FILES = "data/test_dataset_files.py::"
_STREAMS = "data/test_hugging_face_and_videos.py::"
_LEVELS = "images/test_all_levels.py::"
_BY_COMMAND = "cli/test_situations.py::"
_OF_FILES = "images/test_inputs_of_files.py::"
_LAYERS = "net/test_filters.py::"
_SEVERAL = "mining/test_several_inputs.py::"
_SEEN = "figures/test_other_inputs.py::"
_SEEN_BY_COMMAND = "cli/test_situations_of_seeing.py::"
_ARRAYS_GIVEN = "cli/test_arrays_given.py::"

SITUATIONS = [
    Situation(
        "a checkpoint of Lightning, or under `net`, `ema`, a name of one's own",
        "the network gives exactly what the trained one gives",
        _CHECKPOINTS + "test_a_trainers_checkpoint_loads",
        _CHECKPOINTS + "test_the_command_line_says_it_once",
    ),
    Situation(
        "a network fine-tuned on another number of classes",
        "the model is made for the classes of the file, or its head is left out and its layers are refused",
        _CHECKPOINTS + "test_layers_of_a_random_head_are_refused_until_it_is_trained",
        _CHECKPOINTS + "test_the_number_of_classes_is_taken_from_the_file",
    ),
    Situation(
        "NumPy numbers, paths and settings beside the weights",
        "the weights are read, and nothing beside them is run",
        _CHECKPOINTS + "test_settings_beside_the_weights_are_not_made",
        _BY_COMMAND + "test_settings_beside_the_weights",
    ),
    Situation(
        "TorchScript, a pickled model, an HDF5 file or a Git LFS pointer as weights",
        "one sentence says what the file is and what to do",
        _CHECKPOINTS + "test_other_files_are_named_and_answered",
        _BY_COMMAND + "test_files_that_are_no_weights",
    ),
    Situation(
        "a network trained with other means and deviations than ImageNet's",
        "the unit at the place and with the activation that torch alone finds; what is assumed is said",
        _OF_FILES + "test_a_network_trained_with_other_means_and_deviations",
        _INPUTS + "test_the_input_is_made_as_the_model_was_trained",
    ),
    Situation(
        "transforms of torchvision, timm, albumentations or Hugging Face, or a function",
        "pictures show the image before it was normalised, within 0.006",
        _SHOWN + "test_the_image_is_shown_as_it_was",
        _INPUTS + "test_torchvisions_own_transform_is_used",
    ),
    Situation(
        "each image standardised by itself",
        "pictures show the image that was given, not a stretched one",
        _SHOWN + "test_what_cannot_be_inverted_is_shown_by_the_picture_itself",
        _BY_COMMAND + "test_an_image_that_is_standardised_by_itself_is_shown_as_it_was",
    ),
    Situation(
        "a scripted, traced or exported model",
        "layers have the names of the modules, with the pictures of the original; scans find its convolutions",
        _EXPORTED + "test_layers_have_the_names_of_the_modules",
        _EXPORTED + "test_the_command_line_takes_the_file_as_the_model",
    ),
    Situation(
        "an object that holds a model, such as a YOLO of ultralytics",
        "one sentence says which attribute to pass",
        _EXPORTED + "test_what_holds_a_model_is_answered_with_its_attribute",
        _BY_COMMAND + "test_a_holder_of_a_model",
    ),
    Situation(
        "several images of different sizes",
        "each is projected as it is alone",
        _OF_FILES + "test_images_of_different_sizes_are_each_as_alone",
        _INPUTS + "test_several_images_are_projected_one_after_the_other",
    ),
    Situation(
        "a DataLoader, of any sampler and collate_fn",
        "every item counts once, whatever the batch size",
        _GIVEN + "test_a_loader_is_read_item_by_item",
        _BY_COMMAND + "test_a_data_loader",
    ),
    Situation(
        "bytes in a NumPy array, (N, H, W, C) or (N, C, H, W)",
        "they are pictures, and the result says in which layout",
        _GIVEN + "test_bytes_are_pictures_in_either_layout",
        _FILES + "test_a_file_is_a_dataset_on_the_command_line",
    ),
    Situation(
        "a list of paths",
        "the images in the order of the list, with their names",
        _GIVEN + "test_a_list_of_paths_is_a_dataset",
        _BY_COMMAND + "test_a_list_of_paths",
    ),
    Situation(
        "a `Subset`, a `random_split` or a `ConcatDataset`",
        "names and classes are those of the datasets they are made of",
        _GIVEN + "test_names_and_classes_come_through_parts_of_datasets",
        _BY_COMMAND + "test_names_and_classes_of_a_part",
    ),
    Situation(
        "labels that are values to be predicted, such as 34.7",
        "they are not shown as classes",
        _GIVEN + "test_values_to_predict_are_no_classes",
        _BY_COMMAND + "test_values_to_predict_are_no_classes",
    ),
    Situation(
        "images listed in CSV or JSON, in `.npy`, `.npz`, zip or tar files, or shards of WebDataset",
        "the images in their order, with labels, classes and numbers; a scan of them goes on where it stopped",
        _FILES + "test_a_file_is_a_dataset",
        _FILES + "test_a_file_is_a_dataset_on_the_command_line",
    ),
    Situation(
        "a dataset of Hugging Face",
        "its images, with the names of its classes",
        _STREAMS + "test_datasets_of_hugging_face",
        _STREAMS + "test_datasets_of_hugging_face_by_name",
    ),
    Situation(
        "a video", "its frames, each with its time", _STREAMS + "test_videos_by_frame", _BY_COMMAND + "test_a_video"
    ),
    Situation(
        "images of 16 bits with few levels, as of computed tomography",
        "a preprocess of one's own gets all of them, the library's rounds none",
        _LEVELS + "test_a_preprocess_of_ones_own_gets_every_level",
        _BY_COMMAND + "test_images_of_16_bits_reach_a_preprocess_with_all_levels",
    ),
    Situation(
        "grey files, palettes and opacity for a network that takes colours",
        "the same as from torchvision's loader",
        _LEVELS + "test_a_colour_network_gets_colours_as_from_torchvisions_loader",
        _BY_COMMAND + "test_grey_files_for_a_network_of_colours",
    ),
    Situation(
        "satellite images of 13 channels",
        "three chosen channels are shown",
        _LEVELS + "test_the_bands_that_are_shown_can_be_chosen",
        _BY_COMMAND + "test_three_bands_are_shown",
    ),
    Situation(
        "a dataset that crops at random",
        "an atlas of it is refused, and the cause named",
        "data/test_random_datasets.py::test_an_atlas_of_random_images_names_the_cause",
        _BY_COMMAND + "test_random_crops",
    ),
    Situation(
        "a network of two images, or of an image and a number",
        "a scan finds what plain calls find, and units are projected to every input",
        _SEVERAL + "test_pairs_of_images",
        _BY_COMMAND + "test_several_inputs",
    ),
    Situation(
        "the filters of a layer: normalised, pruned, grouped, transposed, or of a linear layer",
        "the weights that take effect, as single pixels sent through the layer show them",
        _LAYERS + "test_filters_are_those_that_take_effect",
        "cli/test_layer_pictures.py::test_filters",
    ),
    Situation(
        "the feature maps of a layer",
        "what a hook sees",
        "net/test_activations.py::test_maps_are_what_the_layer_returns",
        "cli/test_layer_pictures.py::test_activations",
    ),
    Situation(
        "class names that the dataset does not have",
        "they are kept with the scan, and shown by figures and the atlas",
        _GIVEN + "test_classes_can_be_named",
        _BY_COMMAND + "test_class_names_are_kept_with_a_scan",
    ),
    Situation(
        "signals, such as an ECG or audio",
        "lines of the signal and of its projection on one axis of time, as autograd has them",
        _SEEN + "test_lines_of_a_signal_and_its_projection_are_on_one_axis_of_time",
        _ARRAYS_GIVEN + "test_units_of_an_array",
    ),
    Situation(
        "volumes, such as of computed tomography",
        "three slices through the strongest place, as autograd has them",
        _SEEN + "test_three_slices_through_the_strongest_place",
        _ARRAYS_GIVEN + "test_units_of_an_array",
    ),
    Situation(
        "pictures with the channels last, (N, H, W, C)",
        "the figure of the same network of (N, C, H, W)",
        _SEEN + "test_channels_last_is_drawn_as_channels_first",
        _SEEN_BY_COMMAND + "test_pictures_with_the_channels_last",
    ),
    Situation(
        "a detector's list of pictures of different sizes, without a batch axis",
        "each picture with its gradient, as autograd has it",
        _SEEN + "test_a_list_of_pictures_is_drawn_picture_by_picture",
        _SEEN_BY_COMMAND + "test_a_list_of_pictures",
    ),
    Situation(
        "several pictures at once, and numbers",
        "each picture with its own window, which is where autograd's gradient is not zero",
        _SEEN + "test_each_of_several_inputs_has_its_own_window",
        _SEEN_BY_COMMAND + "test_several_pictures_and_a_number",
    ),
    Situation(
        "a dataset of signals",
        "the strongest of each channel, as plain calls have them, drawn as lines",
        _SEEN + "test_the_strongest_of_a_dataset_are_drawn",
        _ARRAYS_GIVEN + "test_a_data_set_of_signals",
    ),
    Situation(
        "a dataset of pairs of pictures",
        "the strongest of each channel with both pictures",
        _SEEN + "test_the_strongest_pairs_of_a_dataset",
        _SEEN_BY_COMMAND + "test_a_dataset_of_pairs",
    ),
    Situation(
        "tensors whose normalisation is known, or not",
        "pictures show the image before it was normalised, or the caption says that it is stretched",
        _SEEN + "test_images_that_are_stretched_are_said_to_be",
        _SEEN_BY_COMMAND + "test_tensors_whose_normalisation_is_known_or_not",
    ),
    Situation(
        "evidence, experiments and the atlas for signals",
        "they work, or say in a sentence that they are for pictures",
        _ARRAYS_GIVEN + "test_what_is_for_pictures_says_so_in_python_and_the_rest_is_right",
        _ARRAYS_GIVEN + "test_what_is_for_pictures_says_so",
    ),
    Situation(
        "a heat map over the image",
        "the energy of the projection, smoothed and blended as plain loops do it; the figure says so",
        "figures/test_overlays.py::test_heat_is_smoothed_energy",
        _SEEN_BY_COMMAND + "test_a_heat_map_over_the_image",
    ),
    Situation(
        "a notebook without `%matplotlib inline`, and figures in a loop",
        "each cell has its picture, and none is held by pyplot",
        "figures/test_notebooks.py::test_a_cell_shows_a_picture",
        _SEEN_BY_COMMAND + "test_files_of_many_images_and_no_figure_that_stays",
        "none: a command writes files and holds no figure",
    ),
    Situation(
        "a figure of one's own with axes for each result",
        "results are drawn within their axes",
        "figures/test_own_axes.py::test_every_result_is_drawn_in_its_place",
        _SEEN_BY_COMMAND + "test_a_file_for_each_image_to_place_in_a_figure_of_ones_own",
        "none: a command writes a file for each image",
    ),
]


def page() -> str:
    """The expected content of the page."""
    rows = [
        f"| {row.name} | {row.right} | {_shown(row.python)} | {_on_the_command_line(row)} |"
        for row in sorted(SITUATIONS, key=lambda row: row.name.removeprefix("a ").lower())
    ]
    return START + "\n".join(rows) + "\n"


def _on_the_command_line(row: Situation) -> str:
    return "; ".join(filter(None, (row.nearest, _shown(row.command_line))))


def _shown(test: str) -> str:
    return f"`{test.partition('::')[2]}`" if test else ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
