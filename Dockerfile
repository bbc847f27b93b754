# syntax=docker/dockerfile:1
# One image for every process; the command says which. Built in two stages, so that what runs holds neither pip's
# cache nor anything that was not in the lock.

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/payfleet
WORKDIR /src
COPY requirements.txt ./
RUN /opt/payfleet/bin/pip install --require-hashes --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY domain domain
COPY db db
COPY jobs jobs
COPY workers workers
COPY ingress ingress
COPY ops ops
COPY sandbox sandbox
RUN /opt/payfleet/bin/pip install --no-deps --no-build-isolation . \
    && /opt/payfleet/bin/python -m compileall -q /opt/payfleet/lib

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin payfleet
COPY --from=build /opt/payfleet /opt/payfleet
ENV PATH=/opt/payfleet/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /tmp
EXPOSE 3000
STOPSIGNAL SIGTERM
ENTRYPOINT []
CMD ["payfleet", "web"]
