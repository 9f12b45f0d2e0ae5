"""What a data set's labels and regions mean, and label images as nnU-Net reads them."""
