"""A whole job from a YAML file on a table of numbers: trains, and saves the model where Spark writes.

    spark-submit --master 'local[2]' train_table.py --job job.yaml --table rows.parquet --label class --model model

Every column but the label is a value of the net's input, in the table's order, unless --features names some.
"""
import argparse

from pyspark.sql import SparkSession

from downpour.ml import DownpourClassifier


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", required=True, help="the job file, where the driver runs")
    parser.add_argument("--table", required=True, help="a Parquet table, where Spark finds it")
    parser.add_argument("--label", required=True, help="the column with classes, counted from 0")
    parser.add_argument("--features", help="columns of numbers, separated by commas")
    parser.add_argument("--servers", help="where the parameters live: driver (the default), running or tasks")
    parser.add_argument("--runs", default="runs", help="folder for logs, metrics and plot, where the driver runs")
    parser.add_argument("--model", required=True, help="where the model is saved")
    arguments = parser.parse_args()
    spark = SparkSession.builder.appName("Train on a table").getOrCreate()

    table = spark.read.parquet(arguments.table)
    features = arguments.features.split(",") if arguments.features else [c for c in table.columns if c != arguments.label]
    placement = {"servers": arguments.servers} if arguments.servers else {}
    classifier = DownpourClassifier(job=arguments.job, featuresCols=features, labelCol=arguments.label, runDir=arguments.runs,
                                    **placement)
    model = classifier.fit(table)
    print(model.summary)
    model.write().overwrite().save(arguments.model)


if __name__ == "__main__":
    main()
