# One image for every role of the program. It was built and run with Docker 20.10, with a stand-in for the base image;
# tests/ops/test_containers.py checks it as far as that goes without an engine.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/capacity
WORKDIR /build
# What changes seldom comes first: the locked packages are installed again only when the lock changes.
COPY requirements.lock ./
RUN /opt/capacity/bin/pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY capacity capacity
COPY static static
RUN /opt/capacity/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 capacity \
    && useradd --no-log-init --uid 10001 --gid 10001 --home-dir /var/lib/capacity --no-create-home --shell /usr/sbin/nologin capacity \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/capacity
COPY --from=build /opt/capacity /opt/capacity
ENV PATH=/opt/capacity/bin:$PATH CAPACITY_DATA_DIR=/var/lib/capacity
USER 10001
WORKDIR /var/lib/capacity
VOLUME /var/lib/capacity
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=2 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["capacity"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
