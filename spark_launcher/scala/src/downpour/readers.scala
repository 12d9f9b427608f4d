package downpour

import org.apache.spark.ml.linalg.SQLDataTypes.VectorType
import org.apache.spark.ml.linalg.{DenseVector, SparseVector, Vector}
import org.apache.spark.sql.Row
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.util.ArrayData
import org.apache.spark.sql.types._

/** Hands the features of rows, and labels where there are some, to a FrameEncoder.
  *
  * @param features what Columns.features made: bytes, arrays of float or double, or vectors, which become floats
  */
private[downpour] final class SampleReader(features: DataType) extends Serializable {
  import FrameEncoder.{HasNull, IsNull}

  def tensorType: TensorType = features match {
    case BinaryType => TensorType.U8
    case ArrayType(DoubleType, _) => TensorType.F64
    case _ => TensorType.F32
  }

  /** Begins a row with the features at `ordinal` of a row as Spark has it inside: no value becomes an object. */
  def read(row: InternalRow, ordinal: Int, to: FrameEncoder, isHeldOut: Boolean = false): Unit = {
    if (row.isNullAt(ordinal)) to.refuseFeatures(IsNull)
    features match {
      case BinaryType => bytes(row.getBinary(ordinal), to, isHeldOut)
      case ArrayType(kind, _) => array(row.getArray(ordinal), kind == DoubleType, to, isHeldOut)
      case _ =>
        vector(VectorType.asInstanceOf[UserDefinedType[Vector]].deserialize(row.getStruct(ordinal, 4)), to, isHeldOut)
    }
  }

  /** The same of a row as users have it. */
  def read(row: Row, ordinal: Int, to: FrameEncoder): Unit = row.get(ordinal) match {
    case null => to.refuseFeatures(IsNull)
    case values: Array[Byte] => bytes(values, to, isHeldOut = false)
    case values: Vector => vector(values, to, isHeldOut = false)
    case values =>
      val all = values.asInstanceOf[scala.collection.Seq[_]]
      to.beginRow(all.length)
      all.foreach {
        case value: Float => to.put(value)
        case value: Double => to.put(value)
        case _ => to.refuseFeatures(HasNull)
      }
  }

  private def bytes(values: Array[Byte], to: FrameEncoder, isHeldOut: Boolean): Unit = {
    to.beginRow(values.length, isHeldOut)
    to.putBytes(values)
  }

  private def array(values: ArrayData, doubles: Boolean, to: FrameEncoder, isHeldOut: Boolean): Unit = {
    val count = values.numElements()
    to.beginRow(count, isHeldOut)
    var i = 0
    while (i < count) {
      if (values.isNullAt(i)) to.refuseFeatures(HasNull)
      if (doubles) to.put(values.getDouble(i)) else to.put(values.getFloat(i))
      i += 1
    }
  }

  private def vector(values: Vector, to: FrameEncoder, isHeldOut: Boolean): Unit = {
    to.beginRow(values.size, isHeldOut)
    values match {
      case dense: DenseVector => putAll(dense.values, to)
      case sparse: SparseVector => putAll(sparse.toDense.values, to)
    }
  }

  private def putAll(values: Array[Double], to: FrameEncoder): Unit = {
    var i = 0
    while (i < values.length) {
      to.put(values(i).toFloat)
      i += 1
    }
  }
}

/** Hands one number of each row, its label or its weight, to a FrameEncoder.
  *
  * @param name of the column to users
  * @param kind what Columns made: a type of numbers
  */
private[downpour] final class NumberReader(name: String, kind: DataType) extends Serializable {
  def column: FeedColumn = FeedColumn(name, kind match {
    case ByteType | ShortType | IntegerType => TensorType.I32
    case LongType => TensorType.I64
    case FloatType => TensorType.F32
    case _ => TensorType.F64
  })

  /** The number at `ordinal` of a row, as the `index`th tensor beside the features. */
  def read(row: InternalRow, ordinal: Int, to: FrameEncoder, index: Int): Unit = {
    if (row.isNullAt(ordinal)) to.refuse(name, FrameEncoder.IsNull)
    kind match {
      case ByteType => to.putNumber(index, row.getByte(ordinal).toLong)
      case ShortType => to.putNumber(index, row.getShort(ordinal).toLong)
      case IntegerType => to.putNumber(index, row.getInt(ordinal).toLong)
      case LongType => to.putNumber(index, row.getLong(ordinal))
      case FloatType => to.putNumber(index, row.getFloat(ordinal).toDouble)
      case _ => to.putNumber(index, row.getDouble(ordinal))
    }
  }
}

/** How the rows of a partition become a feed. It travels to executors.
  *
  * A row has the features, then the label, the weight where there is one, and last, where the column has a name,
  * whether it is held out.
  */
private[downpour] final case class RowLayout(featuresName: String, samples: SampleReader, numbers: Seq[NumberReader],
                                             heldOutName: Option[String]) {
  def columns: FeedColumns =
    FeedColumns(FeedColumn(featuresName, samples.tensorType), numbers.headOption.map(_.column),
                numbers.lift(1).map(_.column))

  def encode(rows: Iterator[InternalRow], encoder: FrameEncoder): Unit = {
    val last = numbers.size + 1
    rows.foreach { row =>
      heldOutName.foreach(name => if (row.isNullAt(last)) encoder.refuse(name, FrameEncoder.IsNull))
      samples.read(row, 0, encoder, heldOutName.isDefined && row.getBoolean(last))
      var index = 0
      while (index < numbers.size) {
        numbers(index).read(row, index + 1, encoder, index)
        index += 1
      }
      encoder.endRow()
    }
    encoder.end()
  }
}
