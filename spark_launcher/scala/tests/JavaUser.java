import java.util.Map;

import org.apache.spark.ml.Pipeline;
import org.apache.spark.ml.PipelineStage;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;

import downpour.WorkerFailed;
import downpour.ml.DownpourClassificationModel;
import downpour.ml.DownpourClassifier;

/** What a Java user writes; that it compiles is the test. */
final class JavaUser {
    private JavaUser() {}

    static Dataset<Row> use(Dataset<Row> df) throws java.io.IOException {
        DownpourClassifier classifier = new DownpourClassifier().setLayers(new int[] {20, 64, 3}).setNumWorkers(2)
            .setSettings(Map.of("sync.n_push", 10, "optimizer", Map.of("name", "adam")))
            .setProbabilityCol("p").setStepSize(0.1);
        new Pipeline().setStages(new PipelineStage[] {classifier});
        try {
            DownpourClassificationModel model = classifier.fit(df);
            double[] losses = model.summary().objectiveHistory();
            model.write().overwrite().save("model-" + losses.length + "-" + model.numClasses());
        } catch (WorkerFailed failed) {
            throw new IllegalStateException(failed.partition() + " on " + failed.host() + ": " + failed.reason());
        }
        DownpourClassifier.load("classifier").setMaxIter(3);
        return DownpourClassificationModel.load("model").setPredictionCol("class")
            .extractFeatures(df, new String[] {"ip1"});
    }
}
