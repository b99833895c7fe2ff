"""The built-in task: classify labelled images."""

from collections.abc import Mapping
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from absa.adversary.inputs import Inputs
from absa.data.augmentation import Augmentation
from absa.data.config import DataConfig
from absa.data.image_set import ImageSet
from absa.data.images import ImageBatch, ImageSource
from absa.data.normalisation import Normalisation, image_range
from absa.data.open import normalisation_of, open_data
from absa.models.config import ModelConfig
from absa.task import Datasets


class ImageClassification:
    """Cross-entropy of a network on a set of labelled images.

    Args:
        data: Which images.
        model: Which network.
        seed: Of the split of a set that comes without one.
    """

    def __init__(self, data: DataConfig, model: ModelConfig, seed: int) -> None:
        self._data, self._model, self._seed = data, model, seed

    @cached_property
    def images(self) -> ImageSet:
        """Return the data set, opened when it is first needed.

        Raises:
            DataError: The set is missing, incomplete, corrupt or not what it says.
        """
        return open_data(self._data, self._seed)

    @cached_property
    def normalisation(self) -> Normalisation:
        """Return what brings pixels to what the model takes."""
        return normalisation_of(self._data, self.images)

    def build_model(self) -> nn.Module:
        """Return the network for the set's image size and classes."""
        from absa.models import build_model

        return build_model(
            self._model,
            image_shape=self.images.image_shape,
            num_classes=self.images.num_classes,
        )

    def datasets(self) -> Datasets:
        """Return the training images, augmented as the job says, and the test images."""
        augmentation = Augmentation(self._data.crop_padding, self._data.flip)
        return Datasets(
            ImageSource(self.images.train, self.normalisation, augmentation),
            ImageSource(self.images.test, self.normalisation, Augmentation()),
        )

    def losses(self, model: nn.Module, batch: ImageBatch) -> Float[Tensor, " samples"]:
        """Return the cross-entropy of each sample."""
        return F.cross_entropy(
            model(batch["image"]),
            batch["label"],
            reduction="none",
            label_smoothing=self._data.label_smoothing,
        )

    def metrics(self, model: nn.Module, batch: ImageBatch) -> Mapping[str, Tensor]:
        """Return sums of correct answers and of cross-entropies with the true labels."""
        logits, labels = model(batch["image"]), batch["label"]
        return {
            "accuracy": (logits.argmax(dim=1) == labels).sum(),
            "loss": F.cross_entropy(logits, labels, reduction="sum"),
            "count": torch.tensor(len(labels), device=labels.device),
        }

    def adversarial_inputs(self, batch: ImageBatch) -> Inputs:
        """Return the images; a perturbation of 1 is a whole pixel from black to full."""
        images = batch["image"]
        unit, lowest, highest = image_range(self.normalisation, images.device)
        return Inputs(images, unit, lowest, highest, lambda moved: {**batch, "image": moved})
