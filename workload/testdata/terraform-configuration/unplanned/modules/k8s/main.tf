resource "kubernetes_deployment_v1" "d" {
}
