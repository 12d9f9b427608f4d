package downpour.ml

import scala.collection.immutable.ArraySeq

import org.apache.spark.ml.Model
import org.apache.spark.ml.linalg.Vector
import org.apache.spark.ml.util.{MLWritable, MLWriter}
import org.apache.spark.sql.types.{ArrayType, FloatType, StructField, StructType}
import org.apache.spark.sql.{DataFrame, Dataset, Encoders}

import downpour.{Answer, Columns, FeedColumn, FeedColumns, FrameEncoder, Predictor, SampleReader, TensorType}

/** A trained net. Made by an estimator's fit, or by load. Subclasses say what its outputs are. */
abstract class DownpourModel[M <: DownpourModel[M]] private[ml] (private[ml] val net: TrainedNet,
                                                                 trainingSummary: Option[TrainingSummary])
    extends Model[M] with DownpourParams with MLWritable { this: M =>

  def setFeaturesCol(value: String): M = set(featuresCol, value)
  def setFeaturesCols(value: Array[String]): M = set(featuresCols, value)
  def setPredictionCol(value: String): M = set(predictionCol, value)

  /** Values of a row's features. */
  def numFeatures: Int = net.rowValues

  /** Whether it was just fitted; a model that was loaded has none. */
  def hasSummary: Boolean = trainingSummary.isDefined

  def summary: TrainingSummary = trainingSummary.getOrElse(
    throw new IllegalStateException("this model was loaded, not fitted: it has no summary"))

  /** The parameters as a safetensors file, whose names and layouts are PyTorch's. */
  def safetensors: Array[Byte] = net.parameters.clone

  /** The columns that `transform` adds. */
  private[ml] def added: Seq[StructField]

  /** Their values, of the net's outputs for one row; it travels to executors. */
  private[ml] def meaning: Array[Float] => Seq[Any]

  override def transform(dataset: Dataset[_]): DataFrame = {
    val values = meaning
    withColumns(dataset, Nil, added, (answer, row) => values(answer.values(0, row)))
  }

  /** The DataFrame with a column array<float> for each of these layers, of its values for the row's features. */
  def extractFeatures(dataset: Dataset[_], layers: Array[String]): DataFrame = {
    if (layers.isEmpty) throw new IllegalArgumentException("there are no layers to extract")
    val fields = layers.map(name => StructField(name, ArrayType(FloatType, containsNull = false))).toSeq
    val count = layers.length
    val extracted = withColumns(dataset, layers.toSeq, fields, (answer, row) =>
      Seq.tabulate(count)(layer => ArraySeq.unsafeWrapArray(answer.values(layer, row))))
    values(new Array[Double](net.rowValues), layers.toSeq) // PredictionFailed for a layer that is not there
    extracted
  }

  override def transformSchema(schema: StructType): StructType = {
    Columns.features(schema, features)
    TrainedNet.withAdded(schema, added)
  }

  override def write: MLWriter = new ModelWriter(this)

  override def toString: String = s"${getClass.getSimpleName}: uid=$uid, numFeatures=$numFeatures"

  /** What the net makes of one row, on this machine. */
  private[ml] def outputs(row: Vector): Array[Float] = values(row.toArray, Nil).values(0, 0)

  /** These layers' values of one row, or the net's outputs, on this machine. */
  private def values(row: Array[Double], layers: Seq[String]): Answer = {
    val predictor = new Predictor(net.jobText, net.parameters, layers)
    try {
      val encoder = new FrameEncoder(FeedColumns(FeedColumn("features", TensorType.F32)), net.rowValues, predictor)
      encoder.beginRow(row.length)
      row.foreach(value => encoder.put(value.toFloat))
      encoder.endRow()
      encoder.flush()
      predictor.next()
    } finally predictor.close()
  }

  /** The DataFrame with new columns. IllegalArgumentException where it has one of these names. */
  private def withColumns(dataset: Dataset[_], layers: Seq[String], fields: Seq[StructField],
                          values: (Answer, Int) => Seq[Any]): DataFrame = {
    val schema = dataset.schema
    Columns.requireNew(schema, fields.map(_.name))
    val featuresName = Columns.freeName(schema, "downpour")
    val rows = dataset.toDF().withColumn(featuresName, Columns.features(schema, features))
    val reader = new SampleReader(rows.schema(featuresName).dataType)
    // Two columns of one name could not be told apart.
    val computed = fields.indices.map(index => Columns.freeName(schema, s"downpour$index"))
    val all = StructType(schema ++ fields.zip(computed).map { case (field, name) => field.copy(name = name) })
    val scoring = new Scoring(net, features.left.getOrElse("features"), reader, layers, values)
    val scored = rows.mapPartitions(scoring)(Encoders.row(all))
    val kept = schema.map(field => Columns.quoted(field.name).as(field.name, field.metadata))
    val more = fields.zip(computed).map { case (field, name) => Columns.quoted(name).as(field.name) }
    scored.select(kept ++ more: _*)
  }
}
