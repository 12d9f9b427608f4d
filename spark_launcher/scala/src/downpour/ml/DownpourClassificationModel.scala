package downpour.ml

import org.apache.spark.ml.linalg.{Vector, Vectors}
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.util.{MLReadable, MLReader}
import org.apache.spark.sql.types.StructField

/** A trained net for classes. Made by DownpourClassifier.fit, or DownpourClassificationModel.load. */
class DownpourClassificationModel private[ml] (override val uid: String, net: TrainedNet,
                                               fitted: Option[TrainingSummary])
    extends DownpourModel[DownpourClassificationModel](net, fitted) with ClassifierParams {
  import DownpourClassificationModel._

  def setProbabilityCol(value: String): DownpourClassificationModel = set(probabilityCol, value)
  def setRawPredictionCol(value: String): DownpourClassificationModel = set(rawPredictionCol, value)
  def setThresholds(value: Array[Double]): DownpourClassificationModel = set(thresholds, value)

  def numClasses: Int = net.classes

  /** Scores of the classes for one row. */
  def predictRaw(features: Vector): Vector = Vectors.dense(outputs(features).map(_.toDouble))

  def predictProbability(features: Vector): Vector = Vectors.dense(softmax(outputs(features).map(_.toDouble)))

  def predict(features: Vector): Double = likeliest(predictProbability(features).toArray, thresholdsFor(numClasses))

  private[ml] override def added: Seq[StructField] = named

  private[ml] override def meaning: Array[Float] => Seq[Any] = {
    val wanted = Seq(rawPredictionCol, probabilityCol, predictionCol).map($(_).nonEmpty)
    val limits = thresholdsFor(numClasses)
    outputs => {
      val scores = outputs.map(_.toDouble)
      val probabilities = softmax(scores)
      val all = Seq[Any](Vectors.dense(scores), Vectors.dense(probabilities), likeliest(probabilities, limits))
      all.zip(wanted).collect { case (value, true) => value }
    }
  }

  override def copy(extra: ParamMap): DownpourClassificationModel =
    copyValues(new DownpourClassificationModel(uid, net, fitted), extra).setParent(parent)
}

object DownpourClassificationModel extends MLReadable[DownpourClassificationModel] {
  override def read: MLReader[DownpourClassificationModel] = new ParamsReader(
    classOf[DownpourClassificationModel].getName, (spark, path, uid) =>
      new DownpourClassificationModel(uid, ModelWriter.read(spark, path), None))

  override def load(path: String): DownpourClassificationModel = super.load(path)

  private def softmax(scores: Array[Double]): Array[Double] = {
    val most = scores.max
    val likely = scores.map(score => math.exp(score - most))
    val sum = likely.sum
    likely.map(_ / sum)
  }

  /** The class; with thresholds the one with the greatest ratio of probability to threshold, as in spark.ml. */
  private def likeliest(probabilities: Array[Double], thresholds: Option[Seq[Double]]): Double = {
    val ratios = thresholds.fold(probabilities)(limits => probabilities.zip(limits).map {
      case (probability, _) if probability == 0 || probability.isNaN => 0.0
      case (probability, limit) => probability / limit
    })
    // The first of the greatest, and where scores have overflowed the first that is NaN.
    ratios.indices.reduceLeft((best, i) => if (ratios(i).compare(ratios(best)) > 0) i else best).toDouble
  }
}
