package downpour.ml

import java.nio.file.Files
import java.{util => ju}

import org.apache.spark.ml.param.{Param, ParamMap}
import org.apache.spark.ml.util.{MLWritable, MLWriter}
import org.apache.spark.ml.{Estimator, Model}
import org.apache.spark.sql.Dataset
import org.apache.spark.sql.types.StructType

import downpour.{Columns, DataError, Folder, Job, Json, Training, TrainingColumns}

/** Trains a net on a DataFrame, by parameter servers and one worker for each partition. Subclasses say of what kind.
  *
  * @tparam Self the subclass, which setters give back
  * @tparam M its model
  */
abstract class DownpourEstimator[Self <: DownpourEstimator[Self, M], M <: Model[M]] private[ml] ()
    extends Estimator[M] with DownpourParams with MLWritable { this: Self =>

  def setFeaturesCol(value: String): Self = set(featuresCol, value)
  def setFeaturesCols(value: Array[String]): Self = set(featuresCols, value)
  def setLabelCol(value: String): Self = set(labelCol, value)
  def setPredictionCol(value: String): Self = set(predictionCol, value)
  def setWeightCol(value: String): Self = set(weightCol, value)
  def setValidationIndicatorCol(value: String): Self = set(validationIndicatorCol, value)
  def setMaxIter(value: Int): Self = set(maxIter, value)
  def setStepSize(value: Double): Self = set(stepSize, value)
  def setSeed(value: Long): Self = set(seed, value)
  def setJob(value: String): Self = set(job, value)
  def setLayers(value: Array[Int]): Self = set(layers, value)
  def setSettings(value: Map[String, Any]): Self = set(settings, value)
  def setSettings(value: ju.Map[String, _]): Self = setSettings(Json.asObject(Json.toScala(value)).get)
  def setSyncMode(value: String): Self = set(syncMode, value)
  def setNumWorkers(value: Int): Self = set(numWorkers, value)
  def setBatchSize(value: Int): Self = set(batchSize, value)
  def setServers(value: String): Self = set(servers, value)
  def setRepartitionRandomShuffle(value: Boolean): Self = set(repartitionRandomShuffle, value)
  def setRunDir(value: String): Self = set(runDir, value)

  /** The net's last layer, where `layers` makes the net. */
  private[ml] def loss: String

  /** Refuses a job that this estimator has no use for. */
  private[ml] def check(job: Job): Unit

  private[ml] def make(net: TrainedNet, summary: TrainingSummary): M

  /** What `transform` will add to a schema. */
  private[ml] def withAdded(schema: StructType): StructType

  override def fit(dataset: Dataset[_]): M = {
    val folder = Folder.temporary()
    try {
      val job = DownpourParams.resolve(this, folder, loss)
      check(job)
      val result = Training.train(dataset, job, columns, $(repartitionRandomShuffle), getServers)
      val parameters = Files.readAllBytes(result.runDir.resolve("model.safetensors"))
      val jobText = Files.readString(result.runDir.resolve("job.yaml"))
      val model = make(TrainedNet(jobText, parameters, job.classes, job.rowValues), TrainingSummary(result))
      copyValues(model).setParent(this)
    } finally Folder.remove(folder)
  }

  override def transformSchema(schema: StructType): StructType = {
    Columns.features(schema, features)
    Columns.label(schema, $(labelCol))
    withAdded(schema)
  }

  override def copy(extra: ParamMap): Self = defaultCopy(extra)

  override def write: MLWriter = new ParamsWriter(this)

  /** DataError for a job whose labels are of the other kind, which is for another estimator, or whose net does not score
    * each class.
    */
  private[ml] def checkLabels(job: Job, areClasses: Boolean, instead: String): Unit = {
    if ((job.classes > 0) != areClasses) throw new DataError(
      s"the job's net ends with ${job.lossLayer}, whose labels are ${if (areClasses) "numbers" else "classes"}: use" +
        s" $instead")
    if (areClasses && (job.outputs != job.classes || job.lossLayer == "contrastive_loss")) throw new DataError(
      s"the job's net ends with ${job.lossLayer} and has no score for each class, by which a model tells them")
  }

  private def columns: TrainingColumns =
    TrainingColumns(features, $(labelCol), column(weightCol), column(validationIndicatorCol))

  /** The column that a param names; none where it names none, as in spark.ml. */
  private def column(param: Param[String]): Option[String] = get(param).filter(_.nonEmpty)
}
