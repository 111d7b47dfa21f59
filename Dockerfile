# The program for a CPU, as a user without rights: docs/container.md. No key, data or weights are in the image.
FROM python:3.11-slim AS build
# an index with PyTorch's builds for CPUs, if those with CUDA are not wanted; used in this stage alone
ARG PIP_EXTRA_INDEX_URL
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY secure_fair secure_fair
RUN python -m venv /opt/secure-fair && \
    /opt/secure-fair/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim
COPY --from=build /opt/secure-fair /opt/secure-fair
# one thread per process: the parties of a simulation share the machine; the cache of pictures ends with the container
ENV OMP_NUM_THREADS=1 HOME=/tmp
RUN useradd --no-create-home --uid 10001 fair && install --directory --owner fair /work
USER 10001
WORKDIR /work
EXPOSE 7700
ENTRYPOINT ["/opt/secure-fair/bin/secure-fair"]
CMD ["--help"]
