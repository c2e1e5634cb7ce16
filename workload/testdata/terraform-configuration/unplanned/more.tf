resource "aws_lambda_function" "f" {
  package_type = "Image"
}
