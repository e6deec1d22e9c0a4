"""The application of this package on a Ray cluster, unchanged: two replicas behind Ray Serve's own proxy.

Run it where Ray is installed, and ask as any server of the Open Inference Protocol is asked::

    serve run tests.ray_serve_app:application model=digits
"""

from typing import Any


def application(args: dict[str, str]) -> Any:
    """Return the application: `serve run` calls this with what follows its name on the command line."""
    from ray import serve

    model = args.get("model", "digits")

    def app() -> Any:  # called on each replica, so that each has its own model, threads and queue
        from inferkit.serving import make_app
        from tests.bench_servers import make

        return make_app({"model": make(model)})

    replicas = serve.deployment(num_replicas=2, max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
    return replicas(serve.ingress(app)()).bind()
