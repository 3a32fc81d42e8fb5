# The app on a machine with an NVIDIA GPU; needs the NVIDIA Container Toolkit there.
#
#   docker build -t cxrlib .
#   docker run --gpus all -p 8501:8501 -v cxrlib:/data cxrlib
#
# Data set: add -v /path/to/chest_xray:/data/chest_xray:ro -e CXR_DATA_DIR=/data/chest_xray
# Training, deleting and opening folders are locked, since the container is reached from outside of
# it: add -e CXR_TRAINING=on where only people you trust can reach the port, or log-in and roles.
# Secrets:  add -v /path/to/secrets.toml:/app/.streamlit/secrets.toml:ro
FROM python:3.12-slim

WORKDIR /app
COPY requirements.txt constraints.txt ./
# TensorFlow with the CUDA libraries of the same release; the driver comes from the host.
RUN pip install --no-cache-dir -r requirements.txt \
    && pip install --no-cache-dir "tensorflow[and-cuda]==$(pip show tensorflow | sed -n 's/^Version: //p')"
COPY . .

# New runs, decoded pictures and readings outlive the container in the volume; the shipped run is
# put there when the volume is made.
RUN useradd --create-home app && mkdir /data && cp -r models /data/models && chown -R app /data
USER app
VOLUME /data
ENV CXR_MODELS_DIR=/data/models CXR_CACHE_DIR=/data/cache CXR_REVIEWS=/data/reviews.db \
    KAGGLEHUB_CACHE=/data/kaggle

EXPOSE 8501
HEALTHCHECK --start-period=30s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"]
CMD ["streamlit", "run", "app.py", "--server.headless=true", "--server.address=0.0.0.0"]
