"""LeNet on Fashion-MNIST as a stage of pyspark.ml.

    spark-submit --master 'local[2]' fashion_mnist.py --folder /usr/share/datasets/fashion-mnist

Trains on the 60,000 images, scores the other 10,000, and saves the model where Spark writes.
"""
import argparse

from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.sql import SparkSession

import downpour
from downpour.ml import DownpourClassificationModel, DownpourClassifier

LENET = """
    name: fashion_mnist
    data: {shape: [1, 28, 28]}
    optimizer: {name: momentum, learning_rate: 0.05, momentum: 0.9, weight_decay: 0.0005}
    net:
      - {name: conv1, type: convolution, outputs: 20, kernel: 5}
      - {name: pool1, type: pooling, kernel: 2, stride: 2}
      - {name: conv2, type: convolution, outputs: 50, kernel: 5}
      - {name: pool2, type: pooling, kernel: 2, stride: 2}
      - {name: ip1, type: inner_product, outputs: 500}
      - {name: relu1, type: relu}
      - {name: ip2, type: inner_product, outputs: 10}
      - {name: loss, type: softmax_loss}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="with the four files of MNIST's names, .gz")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=0, help="train on so many of the images only")
    parser.add_argument("--model", help="where the model is saved, such as hdfs:///models/fashion")
    arguments = parser.parse_args()
    spark = SparkSession.builder.appName("Fashion-MNIST").getOrCreate()

    def images(kind, rows=0):
        files = ("%s/%s-%s.gz" % (arguments.folder, kind, what) for what in ("images-idx3-ubyte", "labels-idx1-ubyte"))
        return downpour.read_idx(spark, *files, arguments.workers, rows)

    classifier = DownpourClassifier(job=LENET, numWorkers=arguments.workers, maxIter=arguments.epochs, batchSize=64,
                                    syncMode="easgd")
    model = classifier.fit(images("train", arguments.rows))
    print("loss of each epoch: " + ", ".join("%.3f" % loss for loss in model.summary.objectiveHistory))

    scored = model.transform(images("t10k"))
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(
        scored.withColumn("label", scored.label.cast("double")))
    print("accuracy on images that were held out: %.2f %%" % (100 * accuracy))
    if arguments.model:
        model.write().overwrite().save(arguments.model)
        again = DownpourClassificationModel.load(arguments.model)
        again.extractFeatures(images("t10k").limit(2), ["ip1"]).select("label", "ip1").show(truncate=60)
    spark.stop()


if __name__ == "__main__":
    main()
