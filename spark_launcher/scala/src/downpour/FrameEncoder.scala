package downpour

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.{ByteBuffer, ByteOrder}

/** A type of the feed: its number there, and the bytes of one value. */
private[downpour] sealed abstract class TensorType(val code: Byte, val bytes: Int) extends Serializable

private[downpour] object TensorType {
  case object U8 extends TensorType(1, 1)
  case object I32 extends TensorType(2, 4)
  case object I64 extends TensorType(3, 8)
  case object F32 extends TensorType(4, 4)
  case object F64 extends TensorType(5, 8)
}

/** What takes frames: all of the first `length` bytes are written, or kept elsewhere, when `write` returns. */
private[downpour] trait FrameSink {
  def write(bytes: Array[Byte], length: Int): Unit
}

/** A column of the feed, and the type of its tensor there. */
private[downpour] final case class FeedColumn(name: String, tensorType: TensorType)

/** The columns of a feed: labels and weights only where there are some. */
private[downpour] final case class FeedColumns(features: FeedColumn, label: Option[FeedColumn] = None,
                                               weight: Option[FeedColumn] = None) {
  /** Values beside the features, by the names of their tensors. */
  def numbers: Seq[(String, FeedColumn)] = label.map("label" -> _).toSeq ++ weight.map("weight" -> _)
}

/** Encodes the rows of one partition as frames of the feed (worker/CONTRACT.md), into buffers that it uses again.
  *
  * For each row: `beginRow`; so many times `put`, or once `putBytes`; `putNumber` for label and weight, where there are
  * such, in this order; `endRow`. A batch is written once it is full. For one thread.
  *
  * DataError is thrown for samples of a wrong width and features that are not finite; the row it names counts from 0
  * within the partition. What labels and weights must be is the worker's to say, which knows the net.
  *
  * @param rowValues number of values that each sample must have
  * @param batchRows the most rows of a batch
  */
private[downpour] final class FrameEncoder(columns: FeedColumns, rowValues: Int, sink: FrameSink,
                                           batchRows: Int = Int.MaxValue) {
  import FrameEncoder._

  private val numberTypes = columns.numbers.map(_._2.tensorType).toArray
  private val sampleBytes = rowValues.toLong * columns.features.tensorType.bytes
  private val rowBytes = sampleBytes + numberTypes.map(_.bytes).sum
  if (rowBytes + 8 > MaxBodyBytes) throw new DataError(
    s"column '${columns.features.name}': one row of $rowBytes bytes is more than a frame may hold, $MaxBodyBytes bytes")

  /** Rows of a full batch. */
  private val capacity = math.min(batchRows.toLong, math.max(1, BatchBytes / rowBytes)).toInt
  private val trained = new Batch(BatchKind)
  private lazy val heldOut = new Batch(HeldOutKind)
  private var current = trained
  private var anyHeldOut = false
  private var rows = 0L
  writeSchema()

  /** Rows of one kind of frame, until they are written: the samples behind room for a header, and each other tensor. */
  private final class Batch(kind: Short) {
    val samples: ByteBuffer = buffer(HeaderBytes + 8 + capacity * sampleBytes.toInt).position(HeaderBytes + 8)
    val numbers: Array[ByteBuffer] = numberTypes.map(kind => buffer(capacity * kind.bytes))
    var inBatch = 0

    def flush(): Unit = if (inBatch > 0) {
      putHeader(samples, kind, 8 + inBatch * rowBytes)
      samples.putInt(HeaderBytes, inBatch).putInt(HeaderBytes + 4, 0)
      sink.write(samples.array, samples.position())
      numbers.foreach(values => sink.write(values.array, values.position()))
      samples.position(HeaderBytes + 8)
      numbers.foreach(_.position(0))
      inBatch = 0
    }
  }

  /** Begins a row of so many values, which is trained on, or held out and only measured. */
  def beginRow(width: Int, isHeldOut: Boolean = false): Unit = {
    if (width != rowValues) throw new DataError(s"column '${columns.features.name}', row $rows of the partition, has" +
      s" $width values: the job's data.shape makes it $rowValues")
    anyHeldOut ||= isHeldOut
    current = if (isHeldOut) heldOut else trained
  }

  def putBytes(values: Array[Byte]): Unit = current.samples.put(values)

  def put(value: Float): Unit = {
    if (!java.lang.Float.isFinite(value)) refuseFeatures(NotFinite)
    current.samples.putFloat(value)
  }

  def put(value: Double): Unit = {
    if (!java.lang.Double.isFinite(value)) refuseFeatures(NotFinite)
    current.samples.putDouble(value)
  }

  /** The row's value of the `index`th of the tensors beside the features, of a whole type or not. */
  def putNumber(index: Int, value: Long): Unit = numberTypes(index) match {
    case TensorType.I32 => current.numbers(index).putInt(value.toInt)
    case _ => current.numbers(index).putLong(value)
  }

  def putNumber(index: Int, value: Double): Unit = numberTypes(index) match {
    case TensorType.F32 => current.numbers(index).putFloat(value.toFloat)
    case _ => current.numbers(index).putDouble(value)
  }

  def endRow(): Unit = {
    rows += 1
    current.inBatch += 1
    if (current.inBatch == capacity) current.flush()
  }

  /** Writes the rows that are left. */
  def flush(): Unit = {
    trained.flush()
    if (anyHeldOut) heldOut.flush()
  }

  /** Writes what is left, and the frame that closes the feed. */
  def end(): Unit = {
    flush()
    val frame = buffer(HeaderBytes + 8)
    putHeader(frame, EndKind, 8)
    frame.putLong(HeaderBytes, rows)
    sink.write(frame.array, frame.capacity)
  }

  def refuseFeatures(what: String): Nothing = refuse(columns.features.name, what)

  def refuse(name: String, what: String): Nothing =
    throw new DataError(s"column '$name', row $rows of the partition, $what")

  private def writeSchema(): Unit = {
    val frame = buffer(128).position(HeaderBytes)
    frame.putInt(1 + columns.numbers.size)
    putName(frame, "features").put(columns.features.tensorType.code).put(1: Byte).putInt(rowValues)
    columns.numbers.foreach { case (tensor, column) => putName(frame, tensor).put(column.tensorType.code).put(0: Byte) }
    putHeader(frame, SchemaKind, frame.position() - HeaderBytes)
    sink.write(frame.array, frame.position())
  }
}

private[downpour] object FrameEncoder {
  val SchemaKind: Short = 1
  val BatchKind: Short = 2
  val EndKind: Short = 3
  val HeldOutKind: Short = 4
  val HeaderBytes = 16
  val Magic: Int = 0x31465044 // "DPF1"
  val MaxBodyBytes: Int = 64 << 20

  val IsNull = "is null"
  val HasNull = "has a value that is null"
  private val NotFinite = "has a value that is not finite (NaN or infinity)"

  /** What a batch holds before it is written, where one row is not more. */
  private val BatchBytes = 1L << 20

  def buffer(bytes: Int): ByteBuffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN)

  private def putHeader(frame: ByteBuffer, kind: Short, length: Long): Unit =
    frame.putInt(0, Magic).putShort(4, kind).putShort(6, 0: Short).putLong(8, length)

  private def putName(frame: ByteBuffer, name: String): ByteBuffer = {
    val bytes = name.getBytes(UTF_8)
    frame.putShort(bytes.length.toShort).put(bytes)
  }
}
