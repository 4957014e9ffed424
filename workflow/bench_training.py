"""How fast training is, beside the bare step, the machine's own products, and the loop that a user would write."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from whypretrain.data.tasks import Images
from whypretrain.networks.architecture import of_spec
from whypretrain.networks.building import side_by_side
from whypretrain.networks.initialisation import initialise
from whypretrain.networks.network import Network
from whypretrain.networks.vision import torchvision
from whypretrain.randomness import stream
from whypretrain.training import loop as training
from whypretrain.training.data import TargetData
from whypretrain.training.runs import Request, start_network
from whypretrain.training.schedules import rate_of
from whypretrain.training.supervised import train_above

STEPS = 200
EVALUATED = 256  # images of a batch that is scored


class Trained:
    """One run from scratch, as the spec of its job says, on the images of its parts: all that is timed trains it."""

    def __init__(self, spec: Mapping[str, Any], parts: Mapping[str, Images], device: torch.device) -> None:
        self.spec, self.parts, self.device = spec, parts, device
        self.task, self.recipe = spec["target"]["name"], {**spec["recipe"], "min_steps": STEPS, "epochs": 0}
        (self.rate,), (self.seed,) = spec["learning_rates"], spec["seeds"]
        self.card = of_spec(spec, [])
        self.start = initialise(self.card, stream("scratch-init", self.seed, spec["architecture"]["name"]))

    def _data(self) -> TargetData:
        return TargetData.on(self.device, self.parts, self.spec["target"]["class_count"], self.spec["normalisation"])

    @cached_property
    def data(self) -> TargetData:
        """The images on the device."""
        return self._data()

    def _request(self, data: TargetData) -> Request:
        return Request(self.start, self.card, data, self.task, self.recipe, self.rate, self.seed, self.device)

    def network(self, copies: int = 1) -> Network:
        """Return some copies of the network side by side, as training begins with them."""
        return side_by_side([start_network(self._request(self.data)) for _ in range(copies)]).train()

    def seconds(self, timed: Callable[[], object]) -> float:
        """Return how long a call takes, and what it left for the device to do."""
        self._wait()
        started = time.perf_counter()
        timed()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def run(self, copies: int = 1) -> tuple[float, float]:
        """Return the seconds of some runs together, read-outs and scores with them, and the top-1 on test."""
        found: list[float] = []

        def whole() -> None:
            outcomes = train_above([self._request(self._data())] * copies)
            found.append(outcomes[0].scores["top1_test"])

        return self.seconds(whole), found[0]

    def loop(self, copies: int = 1) -> float:
        """Return the seconds of the training loop alone."""
        network, train = self.network(copies), ([self.data.images["train"]], [self.data.labels["train"]])
        steps = training.train(
            network,
            *train,
            rates=[rate_of(self.recipe, self.rate, STEPS)] * copies,
            steps=STEPS,
            batch_size=self.recipe["batch_size"],
            weight_decay=self.recipe["weight_decay"],
            orders=[stream("target-order", self.seed, self.task)],
        )
        return self.seconds(lambda: [step.number for step in steps])

    def bare(self, copies: int = 1) -> float:
        """Return the seconds of as many steps on one fixed batch: forward, loss, backward, SGD of torch's own."""
        network, (images, labels) = self.network(copies), self._batch(copies)
        descent = self._sgd(network.learning().values(), foreach=True)

        def steps() -> None:
            for _ in range(STEPS):
                loss = functional.cross_entropy(network(images), labels) * copies
                descent.zero_grad()
                loss.backward()
                descent.step()

        return self.seconds(steps)

    def _sgd(self, parameters: Iterable[nn.Parameter], **options: Any) -> torch.optim.SGD:
        settings = {"momentum": training.MOMENTUM, "nesterov": True, "weight_decay": self.recipe["weight_decay"]}
        return torch.optim.SGD(parameters, self.rate, **settings, **options)

    def _batch(self, copies: int = 1) -> tuple[Tensor, Tensor]:
        size = self.recipe["batch_size"]
        return self.data.images["train"][:size], self.data.labels["train"][:size].repeat(copies)

    def operations(self) -> int:
        """Return the floating-point operations of a step of one network, forward and backward.

        torch counts the weights' gradient of a convolution in groups as if it had none, so copies aren't counted.
        """
        network, (images, labels) = self.network(), self._batch()
        with FlopCounterMode(display=False) as counter:
            functional.cross_entropy(network(images), labels).backward()
        return int(counter.get_total_flops())

    def peak(self) -> float:
        """Return the most operations a second of some products of square float32 matrices."""
        best = 0.0
        for size in (256, 512, 1024, 2048) if self.device.type == "cpu" else (4096, 8192):
            a, b = torch.randn(2, size, size, device=self.device)
            best = max(best, *(2 * size**3 / self.seconds(lambda a=a, b=b: a @ b) for _ in range(5)))  # type: ignore[misc]
        return best

    def by_hand(self) -> tuple[float, float]:
        """Return the seconds and the top-1 on test of the loop that a user would write: the same start and rates."""
        found: list[float] = []
        return self.seconds(lambda: found.append(self._user())), found[0]

    def _user(self) -> float:
        transforms, told = torchvision.transforms, self.spec["normalisation"]
        scale = transforms.Normalize([told["mean"]], [told["standard_deviation"]])
        prepared = transforms.Compose([transforms.ToTensor(), scale])

        def batch(pairs: list[tuple[Image.Image, int]]) -> tuple[Tensor, Tensor]:
            return torch.stack([prepared(picture) for picture, _ in pairs]), torch.tensor([label for _, label in pairs])

        pictures = {
            part: [
                (Image.fromarray(image[0]), label) for image, label in zip(own.images, own.labels.tolist(), strict=True)
            ]
            for part, own in self.parts.items()
        }
        train, test = (
            DataLoader(pictures[part], size, shuffle=part == "train", collate_fn=batch)  # type: ignore[arg-type]
            for part, size in (("train", self.recipe["batch_size"]), ("test", EVALUATED))
        )
        network = self._plain().to(self.device)
        descent, rate = self._sgd(network.parameters()), rate_of(self.recipe, self.rate, STEPS)
        schedule = torch.optim.lr_scheduler.LambdaLR(descent, lambda step: rate(step + 1) / self.rate)
        done = 0
        while done < STEPS:
            for images, labels in train:
                loss = functional.cross_entropy(network(images.to(self.device)), labels.to(self.device))
                descent.zero_grad()
                loss.backward()
                descent.step()
                schedule.step()
                done += 1
        network.eval()
        with torch.no_grad():
            right = [network(x.to(self.device)).argmax(1).cpu() == labels for x, labels in test]
        return float(torch.cat(right).double().mean())

    def _plain(self) -> nn.Sequential:
        """Return the network as torch's tutorials write one, with the weights that training begins with."""
        parts: list[nn.Module] = []
        network = self.network().module
        for module in network.children():
            if isinstance(module, nn.Conv2d):
                inputs, outputs, kernel = module.in_channels, module.out_channels, module.kernel_size[0]
                parts += [nn.Conv2d(inputs, outputs, kernel, padding="same", bias=module.bias is not None)]
            elif isinstance(module, nn.BatchNorm2d):
                parts += [nn.BatchNorm2d(module.num_features)]
            elif not isinstance(module, nn.Linear):
                parts += [nn.ReLU() if isinstance(module, nn.ReLU) else nn.MaxPool2d(2)]
        head = nn.Linear(self.card.features, self.spec["target"]["class_count"])
        plain = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
        plain.load_state_dict(dict(zip(plain.state_dict(), network.state_dict().values(), strict=True)))
        return plain.train()
