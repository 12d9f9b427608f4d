package downpour.ml

import org.apache.spark.ml.linalg.SQLDataTypes.VectorType
import org.apache.spark.ml.param.shared.{HasProbabilityCol, HasRawPredictionCol, HasThresholds}
import org.apache.spark.ml.util.{Identifiable, MLReadable, MLReader}
import org.apache.spark.sql.types.{DoubleType, StructField, StructType}

import downpour.{DataError, Job}

/** What classifier and model have besides DownpourParams. */
trait ClassifierParams extends DownpourParams with HasProbabilityCol with HasRawPredictionCol with HasThresholds {
  /** The columns that `transform` adds, by their types; those without a name are left out, as in spark.ml. */
  private[ml] def named: Seq[StructField] =
    Seq($(rawPredictionCol) -> VectorType, $(probabilityCol) -> VectorType, $(predictionCol) -> DoubleType).collect {
      case (name, kind) if name.nonEmpty => StructField(name, kind, nullable = true)
    }

  private[ml] def thresholdsFor(classes: Int): Option[Seq[Double]] = {
    val values = get(thresholds).map(_.toSeq)
    values.foreach { list =>
      if (list.size != classes || list.exists(value => !(value >= 0 && value < Double.PositiveInfinity)) || list.count(_ == 0) > 1) throw new DataError(
        s"thresholds should be one for each of the $classes classes, at least 0 and at most one of them 0; they are" +
          list.mkString(" [", ", ", "]"))
    }
    values
  }
}

/** Trains a net for classes on a DataFrame, by parameter servers and one worker for each partition.
  *
  * {{{
  * val classifier = new DownpourClassifier().setLayers(Array(20, 64, 3)).setMaxIter(10).setNumWorkers(2)
  * val model = classifier.fit(df)              // columns `features` and `label`
  * model.transform(df).select("prediction", "probability")
  * }}}
  *
  * featuresCol is of vectors, arrays of numbers or bytes, one a value; or featuresCols lists columns of numbers.
  * labelCol counts classes from 0. A row of weightCol 2 counts as two. Rows of which validationIndicatorCol is true are
  * not trained on but measured after each epoch. The net is `layers`, as in MultilayerPerceptronClassifier but with
  * ReLU, or that of a `job`. `fit` throws DataError for data that cannot be trained on, TrainingFailed or WorkerFailed
  * for what else may go wrong.
  */
class DownpourClassifier(override val uid: String)
    extends DownpourEstimator[DownpourClassifier, DownpourClassificationModel] with ClassifierParams {

  def this() = this(Identifiable.randomUID("DownpourClassifier"))

  def setProbabilityCol(value: String): DownpourClassifier = set(probabilityCol, value)
  def setRawPredictionCol(value: String): DownpourClassifier = set(rawPredictionCol, value)
  def setThresholds(value: Array[Double]): DownpourClassifier = set(thresholds, value)

  private[ml] override def loss: String = "softmax_loss"

  private[ml] override def check(job: Job): Unit = {
    checkLabels(job, areClasses = true, "DownpourRegressor")
    thresholdsFor(job.classes)
  }

  private[ml] override def make(net: TrainedNet, summary: TrainingSummary): DownpourClassificationModel =
    new DownpourClassificationModel(uid, net, Some(summary))

  private[ml] override def withAdded(schema: StructType): StructType = TrainedNet.withAdded(schema, named)
}

object DownpourClassifier extends MLReadable[DownpourClassifier] {
  override def read: MLReader[DownpourClassifier] =
    new ParamsReader(classOf[DownpourClassifier].getName, (_, _, uid) => new DownpourClassifier(uid))

  override def load(path: String): DownpourClassifier = super.load(path)
}
