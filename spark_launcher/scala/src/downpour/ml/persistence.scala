package downpour.ml

import java.util.Collections

import org.apache.hadoop.fs.Path
import org.apache.spark.ml.Model
import org.apache.spark.ml.param.{Param, Params}
import org.apache.spark.ml.util.{MLReader, MLWriter}
import org.apache.spark.sql.types._
import org.apache.spark.sql.{DataFrameWriter, Row, SparkSession}

import downpour.Json

// Saving and loading, where Spark keeps files: metadata as spark.ml writes them, and a table of one row with the job
// and the model. The Python package reads and writes the same.

/** Writes what has nothing but params. */
private[ml] class ParamsWriter(instance: Params) extends MLWriter {
  override protected def saveImpl(path: String): Unit = {
    def json(value: Param[Any] => Option[Any]): Map[String, Any] = instance.params.toSeq.flatMap { one =>
      val param = one.asInstanceOf[Param[Any]]
      value(param).map(value => param.name -> Json.read(param.jsonEncode(value)).orNull)
    }.toMap
    val metadata = Map[String, Any](
      "class" -> instance.getClass.getName, "timestamp" -> System.currentTimeMillis,
      "sparkVersion" -> sparkSession.version, "uid" -> instance.uid, "paramMap" -> json(instance.get(_)),
      "defaultParamMap" -> json(instance.getDefault(_)))
    table(Row(Json.write(metadata)), new StructType().add("value", StringType))
      .text(new Path(path, "metadata").toString)
  }

  protected def table(row: Row, schema: StructType): DataFrameWriter[Row] =
    sparkSession.createDataFrame(Collections.singletonList(row), schema).coalesce(1).write
}

/** Reads what ParamsWriter wrote, or Python's writer.
  *
  * @param className its class, whose name is the same in both
  * @param make an instance without params yet, by session, path and uid
  */
private[ml] final class ParamsReader[T <: Params](className: String, make: (SparkSession, String, String) => T)
    extends MLReader[T] {
  override def load(path: String): T = {
    val text = sparkSession.read.text(new Path(path, "metadata").toString).first().getString(0)
    val metadata = Json.readObject(text).getOrElse(throw new IllegalArgumentException(s"$path holds no metadata"))
    val found = metadata.getOrElse("class", "?")
    // The second is the name that the first versions of the Python package wrote.
    if (found != className && found != className.replace(".ml.", ".ml.classifier."))
      throw new IllegalArgumentException(s"$path holds a $found, not a $className")
    val instance = make(sparkSession, path, metadata("uid").toString)
    Json.asObject(metadata("paramMap")).get.foreach {
      case (name, value) if instance.hasParam(name) =>
        val param = instance.getParam(name).asInstanceOf[Param[Any]]
        instance.set(param, param.jsonDecode(Json.write(value)))
      // How a model was trained makes no difference to what it does.
      case (name, _) => if (!instance.isInstanceOf[Model[_]]) throw new IllegalArgumentException(
        s"$path sets the param $name, which only Python's $className has")
    }
    instance
  }
}

private[ml] final class ModelWriter(model: DownpourModel[_]) extends ParamsWriter(model) {
  override protected def saveImpl(path: String): Unit = {
    super.saveImpl(path)
    val net = model.net
    table(Row(net.jobText, net.parameters, net.classes, net.rowValues), ModelWriter.Data)
      .parquet(new Path(path, "data").toString)
  }
}

private[ml] object ModelWriter {
  private val Data = new StructType().add("job", StringType).add("model", BinaryType).add("num_classes", IntegerType)
    .add("num_features", IntegerType)

  /** What a ModelWriter wrote besides params. */
  def read(spark: SparkSession, path: String): TrainedNet =
    spark.read.schema(Data).parquet(new Path(path, "data").toString).take(1) match {
      case Array(Row(job: String, model: Array[Byte], classes: Int, features: Int)) =>
        TrainedNet(job, model, classes, features)
      case _ => throw new IllegalArgumentException(s"$path holds no model")
    }
}
