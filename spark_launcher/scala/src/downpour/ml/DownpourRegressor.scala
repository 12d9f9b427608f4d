package downpour.ml

import org.apache.spark.ml.linalg.Vector
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.util.{Identifiable, MLReadable, MLReader}
import org.apache.spark.sql.types.{DoubleType, StructField, StructType}

import downpour.Job

/** Trains a net for numbers on a DataFrame, by parameter servers and one worker for each partition.
  *
  * {{{
  * val regressor = new DownpourRegressor().setLayers(Array(20, 64, 1)).setMaxIter(10).setNumWorkers(2)
  * val model = regressor.fit(df)               // columns `features` and `label`
  * model.transform(df).select("prediction")
  * }}}
  *
  * Minimises half the squared error. Labels far from 0 and 1 are best scaled first. All else as in DownpourClassifier.
  */
class DownpourRegressor(override val uid: String)
    extends DownpourEstimator[DownpourRegressor, DownpourRegressionModel] {

  def this() = this(Identifiable.randomUID("DownpourRegressor"))

  private[ml] override def loss: String = "euclidean_loss"

  private[ml] override def check(job: Job): Unit = checkLabels(job, areClasses = false, "DownpourClassifier")

  private[ml] override def make(net: TrainedNet, summary: TrainingSummary): DownpourRegressionModel =
    new DownpourRegressionModel(uid, net, Some(summary))

  private[ml] override def withAdded(schema: StructType): StructType =
    TrainedNet.withAdded(schema, DownpourRegressionModel.added($(predictionCol)))
}

object DownpourRegressor extends MLReadable[DownpourRegressor] {
  override def read: MLReader[DownpourRegressor] =
    new ParamsReader(classOf[DownpourRegressor].getName, (_, _, uid) => new DownpourRegressor(uid))

  override def load(path: String): DownpourRegressor = super.load(path)
}

/** A trained net for numbers. Made by DownpourRegressor.fit, or DownpourRegressionModel.load. */
class DownpourRegressionModel private[ml] (override val uid: String, net: TrainedNet, fitted: Option[TrainingSummary])
    extends DownpourModel[DownpourRegressionModel](net, fitted) {

  def predict(features: Vector): Double = outputs(features).head.toDouble

  private[ml] override def added: Seq[StructField] = DownpourRegressionModel.added($(predictionCol))

  private[ml] override def meaning: Array[Float] => Seq[Any] = {
    val count = added.size
    outputs => Seq.fill(count)(outputs.head.toDouble)
  }

  override def copy(extra: ParamMap): DownpourRegressionModel =
    copyValues(new DownpourRegressionModel(uid, net, fitted), extra).setParent(parent)
}

object DownpourRegressionModel extends MLReadable[DownpourRegressionModel] {
  override def read: MLReader[DownpourRegressionModel] = new ParamsReader(
    classOf[DownpourRegressionModel].getName, (spark, path, uid) =>
      new DownpourRegressionModel(uid, ModelWriter.read(spark, path), None))

  override def load(path: String): DownpourRegressionModel = super.load(path)

  /** The prediction's column; none where it has no name. */
  private[ml] def added(name: String): Seq[StructField] =
    if (name.isEmpty) Nil else Seq(StructField(name, DoubleType, nullable = true))
}
