package downpour

import java.io.ByteArrayOutputStream
import java.nio.file.{Files, Path, Paths}
import java.util.UUID

import scala.jdk.CollectionConverters._
import scala.util.Try

import org.apache.spark.ml.evaluation.MulticlassClassificationEvaluator
import org.apache.spark.ml.feature.{StandardScaler, StringIndexer}
import org.apache.spark.ml.linalg.Vector
import org.apache.spark.ml.{Pipeline, PipelineModel}
import org.apache.spark.sql.functions._
import org.apache.spark.sql.{DataFrame, SparkSession}

import downpour.ml._

/** What test_scala.py has done on a real cluster, all in one JVM; it writes what it saw as JSON.
  *
  * Arguments: a folder with what Python left, where this leaves its own.
  */
object Driver {
  def main(arguments: Array[String]): Unit = {
    val spark = SparkSession.builder().getOrCreate()
    try {
      val folder = Paths.get(arguments(0))
      val seen = new Driver(spark, folder).run()
      Files.writeString(folder.resolve("seen.json"), Json.write(seen))
    } finally spark.stop()
  }
}

private final class Driver(spark: SparkSession, folder: Path) {
  private val df = spark.read.parquet(path("rows"))

  def run(): Map[String, Any] = Map(
    "frames" -> frames(),
    "downpour" -> fits("downpour"), "bsp" -> fits("bsp"), "peer" -> fits("peer"), "measured" -> measured(),
    "numbers" -> numbers(),
    "python" -> fromPython(), "pipeline" -> pipeline(), "refused" -> refusals(), "retried" -> retried(),
    "killed" -> killed(), "interrupted" -> interrupted(), "tasks" -> serversAsTasks(), "places" -> places())

  private def path(name: String): String = folder.resolve(name).toString

  private def classifier(mode: String = "bsp"): DownpourClassifier =
    new DownpourClassifier().setLayers(Array(6, 16, 3)).setNumWorkers(2).setMaxIter(20).setBatchSize(20).setSeed(1)
      .setSyncMode(mode).setRunDir(path("runs"))
      .setSettings(Map("optimizer" -> Map("name" -> "adam", "learning_rate" -> 0.01), "run.progress_ms" -> 50))

  private def accuracy(scored: DataFrame): Double = new MulticlassClassificationEvaluator().setMetricName("accuracy")
    .evaluate(scored)

  private def fits(mode: String): Map[String, Any] = {
    val model = classifier(mode).fit(df)
    model.write.overwrite().save(path(s"scala-$mode"))
    val loaded = DownpourClassificationModel.load(path(s"scala-$mode"))
    scored(model, s"scored-$mode")
    Map("accuracy" -> accuracy(model.transform(df)), "loaded" -> accuracy(loaded.transform(df)),
        "history" -> model.summary.objectiveHistory, "samples" -> model.summary.totals("samples"),
        "samples_per_second" -> model.summary.samplesPerSecond, "classes" -> loaded.numClasses,
        "features" -> loaded.numFeatures,
        "layers" -> loaded.getLayers, "has_summary" -> loaded.hasSummary, "uid" -> model.uid)
  }

  /** A fit where rows have weights, some are held out, and a coalesce stands before a barrier. */
  private def measured(): Map[String, Any] = {
    val data = df.withColumn("w", lit(2)).withColumn("v", col("id") % 5 === 0).repartition(3).coalesce(2)
    val model =
      classifier().setWeightCol("w").setValidationIndicatorCol("v").setThresholds(Array(0.5, 0.2, 0.3))
        .setRepartitionRandomShuffle(false).fit(data)
    model.write.save(path("scala-measured"))
    val one = df.select("features").first().getAs[Vector](0)
    scored(model, "scored-measured")
    val summary = model.summary
    Map("histories" -> Seq(summary.objectiveHistory, summary.accuracyHistory, summary.validationObjectiveHistory,
                           summary.validationAccuracyHistory),
        "accuracy" -> summary.accuracy.get, "predict" -> model.predict(one),
        "transform" -> model.transform(df).first().getAs[Double]("prediction"))
  }

  private def numbers(): Map[String, Any] = {
    val data = df.withColumn("label", col("label") / 2 - 0.5)
    val model = new DownpourRegressor().setLayers(Array(6, 16, 1)).setNumWorkers(2).setMaxIter(20).setBatchSize(20)
      .setSeed(1).setSyncMode("bsp").setRunDir(path("runs"))
      .setSettings(Map("optimizer" -> Map("name" -> "adam", "learning_rate" -> 0.01))).fit(data)
    model.write.save(path("scala-numbers"))
    DownpourRegressionModel.load(path("scala-numbers")).transform(df).write.parquet(path("scored-numbers"))
    val job = "name: x\ndata: {shape: [6]}\nnet: [{name: ip1, type: inner_product, outputs: 1}," +
      " {name: loss, type: euclidean_loss}]"
    Map("history" -> model.summary.objectiveHistory,
        "other estimator" -> said(new DownpourClassifier().setJob(job).fit(df)))
  }

  private def scored(model: DownpourClassificationModel, name: String): Unit =
    model.extractFeatures(model.transform(df), Array("relu1")).write.parquet(path(name))

  private def fromPython(): Map[String, Any] = {
    val model = DownpourClassificationModel.load(path("python-model"))
    scored(model, "scored-python")
    val one = DownpourClassifier.load(path("python-classifier"))
    one.write.save(path("scala-classifier"))
    Map("wrong class" -> said(DownpourClassifier.load(path("python-model"))), "uid" -> model.uid,
        "settings" -> one.getSettings,
        "mode" -> one.getSyncMode, "step" -> one.getStepSize, "layers" -> one.getLayers)
  }

  private def pipeline(): Map[String, Any] = {
    val named =
      df.withColumn("colour", element_at(array(lit("red"), lit("green"), lit("blue")), col("label").cast("int") + 1))
    val stages = Array(new StringIndexer().setInputCol("colour").setOutputCol("class"),
                       new StandardScaler().setInputCol("features").setOutputCol("scaled"),
                       classifier().setFeaturesCol("scaled").setLabelCol("class"))
    new Pipeline().setStages(stages).fit(named).write.overwrite().save(path("pipeline"))
    val result = PipelineModel.load(path("pipeline")).transform(named)
    val evaluator = new MulticlassClassificationEvaluator().setLabelCol("class").setMetricName("accuracy")
    Map("accuracy" -> evaluator.evaluate(result), "columns" -> result.columns,
        "class metadata" -> result.schema("class").metadata.json)
  }

  private def refusals(): Map[String, Any] = {
    def fit(data: DataFrame, one: DownpourClassifier = classifier("asp")) = said(one.fit(data))
    val nan = df.withColumn("features", array(Seq.fill(6)(lit(Double.NaN)): _*))
    val model = DownpourClassificationModel.load(path("python-model"))
    Map("features column" -> fit(df, classifier().setFeaturesCol("x")),
        "label column" -> fit(df, classifier().setLabelCol("y")),
        "text" -> fit(df.withColumn("label", lit("red"))),
        "several" -> fit(df.withColumn("t", lit("x")), classifier().setFeaturesCols(Array("id", "t"))),
        "no net" -> said(new DownpourClassifier().fit(df)),
        "key" -> fit(df, classifier().setSettings(Map[String, Any]("sync.n_pusch" -> 1).asJava)),
        "width" -> fit(df, classifier("asp").setLayers(Array(5, 3))),
        "classes" -> fit(df, classifier("asp").setLayers(Array(6, 2))),
        "no rows" -> fit(df.limit(0)),
        "half a label" -> fit(df.withColumn("label", lit(0.5))),
        "weights" -> fit(df.withColumn("w", lit(-1)), classifier("asp").setWeightCol("w")),
        "no weight" -> fit(df.withColumn("w", lit(0)), classifier("asp").setWeightCol("w")),
        "there already" -> said(model.transform(model.transform(df))),
        "weight column" -> fit(df.withColumn("w", lit("x")), classifier().setWeightCol("w")),
        "indicator" -> fit(df, classifier().setValidationIndicatorCol("label").setLabelCol("id")),
        "twice" -> fit(df, classifier().setWeightCol("label")),
        "thresholds" -> fit(df, classifier().setThresholds(Array(1, 2))),
        "a failing source" -> fit(df.withColumn("label", raise_error(lit("the source is gone")).cast("double"))),
        "nan scored" -> said(model.transform(nan).collect()),
        "layer" -> said(model.extractFeatures(df, Array("ip9")).collect()),
        "layer column" -> said(model.extractFeatures(df, Array("label")))) ++
      badRows.map { case (name, (features, label)) =>
        name -> said(encode(spark.sql(s"select $features as x, $label as y"), TrainingColumns(Left("x"), "y")))
      }
  }

  /** Rows that no frame may hold, after nothing: features of four values, and a label. */
  private val badRows = Map(
    "null features" -> ("cast(null as binary)", "1"), "null value" -> ("array(1f, 2f, null, 3f)", "1"),
    "not finite" -> ("array(1d, 2d, 3d, double('inf'))", "1"), "too wide" -> ("array(1d, 2d, 3d, 4d, 5d)", "1"),
    "null label" -> ("binary('1234')", "cast(null as int)"))

  /** A fit that takes so long that something can be done to it. */
  private def long(name: String, epochs: Int = 2000): DownpourClassifier =
    classifier("asp").setMaxIter(epochs).setLayers(Array(6, 400, 400, 3)).setRunDir(path(name))

  /** The programs of such a fit that run now, by their command lines. */
  private def running(program: String, name: String): Map[Long, Seq[String]] =
    ProcessHandle.allProcesses.iterator.asScala.map(_.pid).map(pid =>
      pid -> Try(Files.readString(Paths.get(s"/proc/$pid/cmdline"))).getOrElse("").split('\u0000').toSeq
    ).filter { case (_, command) =>
      command.headOption.exists(_.endsWith("/" + program)) && command.exists(_.contains(name))
    }.toMap

  private def eventually[R](look: => Option[R]): R =
    Iterator.continually { Thread.sleep(50); look }.flatten.next()

  /** The process ids of the workers of such a fit, once all have begun. */
  private def workers(name: String): Seq[Long] = eventually {
    val found = running("ps-worker", path(name)).filter { case (_, command) =>
      Try(Files.readString(Paths.get(command.dropWhile(_ != "--log-file")(1)))).getOrElse("").contains("samples")
    }
    Option.when(found.size == 2)(found.keys.toSeq)
  }

  private def kill(pid: Long): Unit = ProcessHandle.of(pid).ifPresent(_.destroyForcibly())

  private def retried(): Map[String, Any] = {
    Child.onThread("killer")(kill(workers("retried").head))
    val summary = long("retried", 80).fit(df).summary
    Map("result" -> summary.totals("result"), "retries" -> summary.failedAttempts.map(_.reason))
  }

  /** Each try at partition 0 is killed. */
  private def killed(): Map[String, Any] = {
    val fit = Thread.currentThread
    val killer = Child.onThread("killer") {
      workers("killed")
      while (fit.isAlive && !Thread.interrupted()) {
        running("ps-worker", path("killed")).foreach { case (pid, command) =>
          if (command.dropWhile(_ != "--partition")(1) == "0") kill(pid)
        }
        Try(Thread.sleep(20)).failed.foreach(_ => Thread.currentThread.interrupt())
      }
    }
    val failure = Try(long("killed").fit(df)).failed.get
    killer.interrupt()
    killer.join()
    failure match {
      case failed: WorkerFailed =>
        Map("status" -> failed.status.get, "reason" -> failed.reason, "hint" -> failed.hint, "host" -> failed.host,
            "lines" -> failed.logTail.size, "message" -> failed.getMessage, "cause" -> failed.getCause.getClass.getName,
            "partition" -> failed.partition, "attempt" -> failed.attempt,
            "others" -> failed.others.map(other => Seq(other.partition, other.attempt, other.reason)))
      case other => Map("reason" -> other.toString)
    }
  }

  /** A fit whose servers are tasks, and one that loses such a server. */
  private def serversAsTasks(): Map[String, Any] = {
    def logs(model: DownpourClassificationModel) = Paths.get(model.summary.runDir, "logs").toFile.list.sorted.toSeq
    val settings = Map[String, Any]("servers.addresses" -> Seq("127.0.0.1:0"))
    val model = classifier("downpour").setServers("tasks").setNumWorkers(1).setMaxIter(2).setSettings(settings).fit(df)
    val token = UUID.randomUUID.toString // what its server's job has, and no other
    Child.onThread("killer") {
      eventually(Option(Paths.get(path("lost")).toFile.list).filter(_.nonEmpty))
      kill(eventually(running("ps-server", "downpour-").find { case (_, command) =>
        Try(Files.readString(Paths.get(command.dropWhile(_ != "--config")(1)))).getOrElse("").contains(token)
      })._1)
    }
    val lost = said(long("lost").setServers("tasks").setNumWorkers(1).setSettings(settings + ("name" -> token)).fit(df))
    Map("logs" -> logs(model), "result" -> model.summary.totals("result"), "lost" -> lost)
  }

  /** Where servers run, by what is asked for, the job's addresses and the driver's host. */
  private def places(): Seq[Any] = for {
    servers <- Seq("driver", "running", "tasks", "node1:7100, node2:7101", "node1:0", "nowhere", "http://node1:7100", "node1:x")
    (addresses, host) <- Seq(Seq("127.0.0.1:0", "[::1]:7", "10.0.0.3:0") -> "10.0.0.5", Seq("localhost:1") -> "fe80::1",
                             Seq("localhost:1", "127.1.2.3:0") -> "")
    peers <- Seq(false, true)
  } yield Seq(servers, addresses, host, peers,
              Try(Placement.of(servers, addresses, Option(host).filter(_.nonEmpty), peers).addresses: Any).recover {
                case error: TrainingFailed => error.getMessage
              }.get)

  private def interrupted(): String = {
    val fit = Thread.currentThread
    val other = Child.onThread("interrupter") { workers("interrupted"); fit.interrupt() }
    val outcome = said(long("interrupted").fit(df))
    other.join()
    outcome
  }

  /** The exception that an action throws. */
  private def said(action: => Any): String =
    try { action; "nothing" }
    catch { case error: Exception => s"${error.getClass.getSimpleName}: ${error.getMessage}" }

  /** Frames of rows of each kind, as files. */
  private def frames(): Seq[String] = {
    val kinds = spark.read.parquet(path("kinds")).orderBy("id").coalesce(1)
    def named(kind: String) = kinds.columns.filter(_.startsWith(kind)).toSeq
    val (features, labels) = (named("features_"), named("label_"))
    val all = features.map(name => TrainingColumns(Left(name), labels.head)) ++
      labels.tail.map(TrainingColumns(Left(features.last), _))
    val more = Seq(all.head.copy(weight = Some("weight")),
                   all.last.copy(weight = Some("weight"), heldOut = Some("held_out")))
    (all ++ more).map { columns =>
      val names = columns.features.left.toOption.toSeq ++ Seq(columns.label) ++ columns.weight ++ columns.heldOut
      Files.write(folder.resolve(s"${names.mkString("-")}.frames"), encode(kinds, columns))
      names.mkString("-")
    }
  }

  private def encode(data: DataFrame, columns: TrainingColumns): Array[Byte] = {
    val rows = columns.select(data)
    val layout = columns.layout(rows.schema)
    val out = new ByteArrayOutputStream
    val encoder = new FrameEncoder(layout.columns, 4, (bytes: Array[Byte], length: Int) => out.write(bytes, 0, length))
    layout.encode(rows.queryExecution.executedPlan.executeCollect().iterator, encoder)
    out.toByteArray
  }
}
