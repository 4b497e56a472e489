"""Options of `fedflow server` that say how much a server takes in, draws and keeps, and for how long."""

from __future__ import annotations

from typing import Annotated

import typer

ImportBytesOption = Annotated[
    int | None,
    typer.Option(
        envvar="FEDFLOW_MAX_IMPORT_BYTES", help="Largest model or adapter that is taken in; 10 GB where not given."
    ),
]
UploadBytesOption = Annotated[
    int | None,
    typer.Option(
        envvar="FEDFLOW_MAX_UPLOAD_BYTES", help="Largest update that a device may send; 20 GB where not given."
    ),
]
UploadLifeOption = Annotated[
    float | None,
    typer.Option(
        envvar="FEDFLOW_UPLOAD_TTL_S",
        help="Life, in seconds, of an upload that nobody goes on with; two days where not given.",
    ),
]
CodeLifeOption = Annotated[
    float | None,
    typer.Option(
        envvar="FEDFLOW_CODE_TTL_S", help="Life, in seconds, of a join code that nobody uses; a week where not given."
    ),
]
WaitingOption = Annotated[
    int | None,
    typer.Option(
        envvar="FEDFLOW_TRYOUTS_WAITING",
        help="Try-outs that one person may have waiting or being drawn; 3 where not given.",
    ),
]
PicturesADayOption = Annotated[
    int | None,
    typer.Option(
        envvar="FEDFLOW_TRYOUT_PICTURES_A_DAY",
        help="Pictures that one person may have drawn in 24 hours; 60 where not given, 0 lets nobody try releases out.",
    ),
]
TryoutPicturesOption = Annotated[
    int | None,
    typer.Option(envvar="FEDFLOW_TRYOUT_PICTURES", help="Most pictures of one try-out; 4 where not given."),
]
TryoutStepsOption = Annotated[
    int | None,
    typer.Option(
        envvar="FEDFLOW_TRYOUT_STEPS", help="Most denoising steps of a try-out's picture; 50 where not given."
    ),
]
TryoutSizeOption = Annotated[
    int | None,
    typer.Option(
        envvar="FEDFLOW_TRYOUT_SIZE_PIXELS",
        help="Largest side that a try-out may ask for, beside the model's own; 768 where not given.",
    ),
]
TryoutLifeOption = Annotated[
    float | None,
    typer.Option(
        envvar="FEDFLOW_TRYOUT_TTL_S",
        help="Time, in seconds, that a try-out's pictures are kept after it is over; a week where not given.",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(envvar="FEDFLOW_THREADS", help="Requests that the web process answers at once; 200 where not given."),
]
WorkerThreadsOption = Annotated[
    int | None,
    typer.Option(envvar="FEDFLOW_WORKER_THREADS", help="Threads of each process that computes; 1 where not given."),
]
