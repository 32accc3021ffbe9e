"""The application of fcos-serve on Ray Serve: several copies, on one machine or many.

    serve run detector:built ckpt=/models/best.ckpt copies=2

Each copy is the application itself, with its own model, line and limits, so that Ray answers what one
machine does. Clients send the token in FCOS_TOKEN, where there is one.
"""

import os

from ray import serve
from ray.serve import Application


def built(words: dict[str, str]) -> Application:
    """Return the deployment for ``ckpt=`` and, if given, ``copies=`` and ``device=``."""
    ckpt, device = os.path.abspath(words["ckpt"]), words.get("device", "auto")

    def application():  # noqa: ANN202  # an ASGI application; made where the copy runs
        from fcos_lightning import Predictor
        from fcos_lightning.serving.access import Access, token_of
        from fcos_lightning.serving.application import Served, Service

        predictor = Predictor.load(ckpt, device=device)
        access = Access("0.0.0.0", token_of(None, None))
        return Service(Served(predictor, os.path.basename(ckpt), access=access)).app

    options = {"num_gpus": 1} if device.startswith("cuda") else {"num_cpus": 1}
    return serve.deployment(
        serve.ingress(application)(),
        name="detector",
        num_replicas=int(words.get("copies", "1")),
        max_ongoing_requests=64,  # the line of a copy
        ray_actor_options=options,
    ).bind()
