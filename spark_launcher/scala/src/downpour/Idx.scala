package downpour

import java.io.{BufferedInputStream, DataInputStream, FileInputStream, IOException}
import java.nio.file.Path
import java.util.zip.GZIPInputStream

import scala.util.Using

import org.apache.spark.TaskContext
import org.apache.spark.sql.{DataFrame, Encoders, SparkSession}

/** IDX files, the format of MNIST and its kin, as a DataFrame: each task reads only its own samples. */
private[downpour] object Idx {
  private val Bytes = 8
  private val Labels = 1 to 1
  private val Images = 2 to 4
  private val BufferBytes = 1 << 16

  /** Beginning of an IDX file of bytes: number of items, and bytes of each. */
  private final case class Header(count: Int, itemBytes: Int)

  /** A DataFrame (id long, features binary, label int) of `partitions` partitions, in the files' order.
    *
    * @param images path, gzip or plain; every executor's host must have the files
    * @param limit take only the first so many samples; 0 for all
    *
    * DataError if the headers are wrong or do not fit each other; a file that is too short or too long is noticed by
    * the task that reads its end.
    */
  def read(spark: SparkSession, images: Path, labels: Path, partitions: Int, limit: Long): DataFrame = {
    val (imageFile, labelFile) = (images.toAbsolutePath.toString, labels.toAbsolutePath.toString)
    val (imageCount, labelCount) = (header(imageFile, Images).count, header(labelFile, Labels).count)
    if (imageCount != labelCount) throw new DataError(
      s"$imageFile has $imageCount images, but $labelFile has $labelCount labels")
    val count = if (limit > 0) math.min(limit, imageCount) else imageCount.toLong
    val kind = Encoders.tuple(Encoders.scalaLong, Encoders.BINARY, Encoders.scalaInt)
    spark.range(0, count, 1, partitions).mapPartitions((ids: Iterator[java.lang.Long]) =>
      samples(imageFile, labelFile, ids.map(_.longValue)))(kind).toDF("id", "features", "label")
  }

  private def header(path: String, dimensions: Range): Header = Using.resource(open(path))(header(_, path, dimensions))

  /** The samples of ascending ids. */
  private def samples(images: String, labels: String, ids: Iterator[Long]): Iterator[(Long, Array[Byte], Int)] =
    if (!ids.hasNext) Iterator.empty
    else {
      val (pixels, classes) = (new Items(images, Images), new Items(labels, Labels))
      TaskContext.get().addTaskCompletionListener[Unit] { _ => pixels.close(); classes.close() }
      ids.map(id => (id, pixels(id), classes(id)(0) & 0xff))
    }

  /** The items of one file, for ascending indices. */
  private final class Items(path: String, dimensions: Range) extends AutoCloseable {
    private val in = open(path)
    private val shape = header(in, path, dimensions)
    private var next = 0L

    def apply(index: Long): Array[Byte] = {
      val item = new Array[Byte](shape.itemBytes)
      try {
        in.skipNBytes((index - next) * shape.itemBytes)
        in.readFully(item)
      } catch { case _: IOException => throw truncated(path, s"item $index of ${shape.count}") }
      next = index + 1
      if (next == shape.count && in.read() >= 0) throw new DataError(
        s"$path is longer than its header says: ${shape.count} items of ${shape.itemBytes} bytes")
      item
    }

    override def close(): Unit = in.close()
  }

  private def open(path: String): DataInputStream =
    try {
      val zipped = Using.resource(new FileInputStream(path))(file => file.read() == 0x1f && file.read() == 0x8b)
      val file = new FileInputStream(path)
      new DataInputStream(if (zipped) new GZIPInputStream(file, BufferBytes)
                          else new BufferedInputStream(file, BufferBytes))
    } catch { case error: IOException => throw new DataError(s"$path cannot be read: ${error.getMessage}", error) }

  private def header(in: DataInputStream, path: String, dimensions: Range): Header =
    try {
      val start = in.readInt()
      val rank = start & 0xff
      if (start >>> 8 != Bytes || !dimensions.contains(rank)) throw new DataError(f"$path begins with 0x$start%08x:" +
        f" not an" +
        (if (dimensions == Labels) " IDX file of labels (0x00000801); are images and labels swapped?"
         else " IDX file of images (0x00000803); are images and labels swapped?"))
      val count = in.readInt()
      val item = Seq.fill(rank - 1)(in.readInt()).foldLeft(1)(Math.multiplyExact(_, _))
      Header(count, item)
    } catch {
      case _: IOException => throw truncated(path, "its header")
      case _: ArithmeticException => throw new DataError(s"$path says that its items have more than 2 GiB")
    }

  private def truncated(path: String, what: String) =
    new DataError(s"$path is truncated or damaged: it ends within $what")
}
