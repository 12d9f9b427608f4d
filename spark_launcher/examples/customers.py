"""Which customers will leave? A table of numbers and words, through a Pipeline.

    spark-submit --master 'local[2]' customers.py
    spark-submit ... customers.py --table hdfs:///data/customers --model hdfs:///models/customers

Without --table the rows are made up here: how a customer's months, charge, calls and contract go together, a net with a
hidden layer can learn and a linear model can't. A table of one's own has these columns, or the lists below name others.
"""
import argparse

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from downpour.ml import DownpourClassifier

NUMBERS = ["months", "charge", "calls", "age"]
WORDS = {"contract": ["monthly", "yearly", "two years"], "region": ["east", "north", "south", "west"]}
LABEL = "leaves"


def made_up(spark, rows, partitions):
    """Customers who leave when it is cheap to and they are unhappy, which has two quite different reasons."""
    table = spark.range(0, rows, 1, partitions).select(
        F.floor(72 * F.rand(1)).alias("months"), (20 + 100 * F.rand(2)).alias("charge"),
        F.floor(8 * F.rand(3)).alias("calls"), (18 + 60 * F.rand(4)).alias("age"),
        *(F.element_at(F.array(*map(F.lit, words)), (1 + F.floor(F.rand(5 + i) * len(words))).cast("int")).alias(name)
          for i, (name, words) in enumerate(WORDS.items())))
    dear_and_new = (table.charge > 80) & (table.months < 24)
    cheap_but_tired = (table.charge < 50) & (table.calls >= 4)
    unhappy = (dear_and_new | cheap_but_tired) & (table.contract != "two years")
    by_chance = F.rand(9) < 0.03
    return table.withColumn(LABEL, F.when(unhappy != by_chance, "yes").otherwise("no"))


def pipeline(arguments):
    """Words become numbers, numbers are brought to one scale, and the net takes them all as one vector."""
    indexed = [name + "Index" for name in WORDS]
    encoded = [name + "Vector" for name in WORDS]
    inputs = len(NUMBERS) + sum(len(words) for words in WORDS.values())
    placement = {"servers": arguments.servers} if arguments.servers else {}
    return Pipeline(stages=[
        StringIndexer(inputCols=[*WORDS, LABEL], outputCols=[*indexed, "label"], stringOrderType="alphabetAsc"),
        OneHotEncoder(inputCols=indexed, outputCols=encoded, dropLast=False),
        VectorAssembler(inputCols=[*NUMBERS, *encoded], outputCol="raw"),
        StandardScaler(inputCol="raw", outputCol="features", withMean=True),
        DownpourClassifier(layers=[inputs, 32, 2], numWorkers=arguments.workers, maxIter=arguments.epochs, batchSize=32,
                           syncMode="easgd", settings={"optimizer": {"name": "adam", "learning_rate": 0.003}},
                           **placement),
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", help="a Parquet table, in place of rows that are made up")
    parser.add_argument("--rows", type=int, default=50000, help="how many to make up")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--servers", help="where the parameters live: driver (the default) or tasks")
    parser.add_argument("--model", help="where the fitted pipeline is saved")
    arguments = parser.parse_args()
    spark = SparkSession.builder.appName("Customers").getOrCreate()

    if arguments.table:
        table = spark.read.parquet(arguments.table)
    else:
        table = made_up(spark, arguments.rows, arguments.workers)
    train, test = (part.cache() for part in table.randomSplit([0.8, 0.2], seed=1))
    model = pipeline(arguments).fit(train)
    print(model.stages[-1].summary)
    area = BinaryClassificationEvaluator().evaluate(model.transform(test))
    print("area under the ROC curve, of rows that were held out: %.3f" % area)
    if arguments.model:
        model.write().overwrite().save(arguments.model)
        again = PipelineModel.load(arguments.model)
        again.transform(test.limit(3)).select(*NUMBERS, *WORDS, LABEL, "prediction").show()


if __name__ == "__main__":
    main()
