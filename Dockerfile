# nnU-Net with this package's trainers, for GPU and CPU:
#   docker build --tag nnunet_ext .
#   docker run --rm --gpus all --shm-size 8g --volume /data/nnunet:/data nnunet_ext nnUNetv2_train 137 3d_fullres 0 -tr ModalityPairingTrainer
# The demo on the CPU, from raw files to a scored ensemble, is its test:
#   docker run --rm nnunet_ext python -m nnunet_ext.demo --folder /tmp/demo
FROM python:3.12-slim-bookworm

WORKDIR /opt/nnunet_ext
COPY . .
# torch for CUDA comes with its own libraries, so no CUDA image is needed
RUN pip install --no-cache-dir . \
    && useradd --create-home --uid 1000 user \
    && mkdir -p /data/nnUNet_raw /data/nnUNet_preprocessed /data/nnUNet_results \
    && chown -R user /data

ENV nnUNet_raw=/data/nnUNet_raw \
    nnUNet_preprocessed=/data/nnUNet_preprocessed \
    nnUNet_results=/data/nnUNet_results \
    nnUNet_extTrainer=/usr/local/lib/python3.12/site-packages/nnunet_ext/plugin
USER 1000
# not the folder of the sources: Python would import them from there
WORKDIR /home/user
CMD ["nnunet_ext", "doctor"]
