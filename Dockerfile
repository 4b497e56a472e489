# The server's parts in one image: `web`, `worker`, `evaluator` and the one-off commands (see compose.yaml).
FROM python:3.12.12-slim-bookworm AS build
# The CPU's build of torch; for workers with a GPU give https://download.pytorch.org/whl/cu128.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
RUN python -m venv /opt/fedflow \
    && /opt/fedflow/bin/pip install --no-cache-dir --constraint constraints.txt \
        --extra-index-url "$TORCH_INDEX" '.[oidc,postgresql,queue,s3]'

FROM python:3.12.12-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin fedflow \
    && install --directory --owner=fedflow --mode=0700 /data
COPY --from=build /opt/fedflow /opt/fedflow
ENV PATH=/opt/fedflow/bin:$PATH HOME=/data PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp \
    OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=10000
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8440
ENTRYPOINT ["fedflow", "server", "--folder", "/data"]
CMD ["--host", "0.0.0.0"]
