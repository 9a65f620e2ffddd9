# The README's two commands with the versions of requirements.lock, of what is committed:
#   docker build --tag reuseprior . && docker run reuseprior make reproduce
FROM python:3.11-slim-bookworm

# hadolint ignore=DL3008  # Debian keeps one version of each in a release
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /reuseprior
ENV LOCKED=1 PYTHON=python3
COPY .git .git
RUN git reset --hard && make .venv/.installed-locked

CMD ["make", "reproduce"]
