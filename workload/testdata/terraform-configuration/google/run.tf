# nothing but a service
resource "google_cloud_run_v2_service" "run" {
  name = "run"
}
