# docker build -t notellm . && docker run --rm -v "$PWD:/data" -w /data notellm doctor
# The target `tools` has what the devcontainer needs: the system's packages, nothing of ours.
FROM debian:12-slim AS tools
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      bash-completion ca-certificates ccache g++ git make \
      libeigen3-dev libfaiss-dev libgtest-dev libopenblas-pthread-dev libyaml-cpp-dev \
      python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM tools AS build
WORKDIR /src
ENV NOTELLM_VENV=/opt/notellm PIP_NO_CACHE_DIR=1
COPY requirements.txt tools/setup.sh tools/step.sh ./
RUN mkdir tools && mv setup.sh step.sh tools && tools/setup.sh venv && tools/setup.sh packages
COPY . .
RUN /opt/notellm/bin/pip install --no-build-isolation --no-deps --no-index .

FROM debian:12-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/notellm /opt/notellm
ENV PATH=/opt/notellm/bin:$PATH
ENTRYPOINT ["notellm"]
CMD ["--help"]
