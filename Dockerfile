# The command line in a container, with what is needed to speak data sets:
#
#   docker build -t analognets .
#   docker run --rm --user "$(id -u)" -v "$PWD:/work" analognets zoo list

FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# The wheel is that of this checkout, and says which versions it takes.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    for wheel in /wheels/*.whl; do python -m pip install --no-cache-dir "${wheel}[speech]"; done
# Any user may write here, so that `--user` works: what is downloaded and compiled.
RUN mkdir --mode=1777 /cache /work && useradd --create-home --uid 1000 analognets
ENV ANALOGNETS_CACHE=/cache/analognets \
    MPLCONFIGDIR=/cache/matplotlib \
    NUMBA_CACHE_DIR=/cache/numba \
    TF_CPP_MIN_LOG_LEVEL=3
USER 1000
WORKDIR /work
ENTRYPOINT ["analognets"]
CMD ["--help"]
