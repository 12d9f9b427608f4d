package downpour.ml

import org.apache.spark.sql.types.{StructField, StructType}

import downpour.Columns

/** What training leaves. It travels to executors.
  *
  * @param jobText the job
  * @param parameters the bytes of a safetensors file
  * @param classes 0 where labels are numbers
  * @param rowValues values of a sample
  */
private[ml] final case class TrainedNet(jobText: String, parameters: Array[Byte], classes: Int, rowValues: Int)

private[ml] object TrainedNet {
  /** A schema with further columns. IllegalArgumentException where it has one of these names. */
  def withAdded(schema: StructType, added: Seq[StructField]): StructType = {
    Columns.requireNew(schema, added.map(_.name))
    StructType(schema ++ added)
  }
}
